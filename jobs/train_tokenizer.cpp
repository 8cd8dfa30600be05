// Captions -> a tokenizer: samples/NAME -> weights/NAME.
#include "ingest/train_tokenizer.h"
#include "job.h"

using namespace microdit;

int main(int argc, char** argv) {
  return jobs::run_config_job<ingest::TokenizerConfig>(
      argc, argv, {.name = "train_tokenizer", .summary = "Train a tokenizer on a dataset's captions."},
      [](jobs::Job& job, const ingest::TokenizerConfig& config) -> int {
        if (!job.line.dry_run) return ingest::train_tokenizer(config, job.comm, job.stop);
        job.comm.on_root([&] { ingest::describe_train_tokenizer(config); });
        return core::kDone;
      });
}

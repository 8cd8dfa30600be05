// Pictures and captions -> latents: samples/NAME -> latents/NAME.
#include "ingest/stages.h"
#include "job.h"

using namespace microdit;

int main(int argc, char** argv) {
  const jobs::JobInfo info{.name = "precompute",
                           .summary = "Pictures and captions -> latents: samples/NAME -> latents/NAME."};
  return jobs::run_config_job<ingest::CatalogueEntry>(
      argc, argv, info, [](jobs::Job& job, const ingest::CatalogueEntry& entry) -> int {
        if (job.line.dry_run) {
          if (job.comm.rank() == 0) ingest::describe_precompute(entry);
          return core::kDone;
        }
        return ingest::precompute(entry, job.comm, job.stop);
      });
}

// Archives -> records -> filters -> samples shards: raw/NAME -> samples/NAME.
#include "ingest/stages.h"
#include "job.h"

using namespace microdit;

int main(int argc, char** argv) {
  const jobs::JobInfo info{
      .name = "clean",
      .summary = "Archives -> records -> filters -> samples shards: raw/NAME -> samples/NAME."};
  return jobs::run_config_job<ingest::CatalogueEntry>(
      argc, argv, info, [](jobs::Job& job, const ingest::CatalogueEntry& entry) -> int {
        if (job.line.dry_run) {
          if (job.comm.rank() == 0) ingest::describe_clean(entry);
          return core::kDone;
        }
        return ingest::clean(entry, job.comm, job.stop);
      });
}

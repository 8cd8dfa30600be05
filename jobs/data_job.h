// What the three data stages share: a catalogue entry, a dry run, the stage.
#pragma once

#include <string>

#include "ingest/stages.h"
#include "job.h"

namespace microdit::jobs {

/// `run` is the stage, `describe` prints what it would do (--dry-run; rank 0), `more` what --print-config says beside the entry.
inline int data_job(int argc, char** argv, const JobInfo& info,
                    int (*run)(const ingest::CatalogueEntry&, comm::Communicator&, const core::StopFlag&),
                    void (*describe)(const ingest::CatalogueEntry&),
                    std::string (*more)(const ingest::CatalogueEntry&) = nullptr) {
  return run_config_job<ingest::CatalogueEntry>(
      argc, argv, info,
      [&](Job& job, const ingest::CatalogueEntry& entry) -> int {
        if (!job.line.dry_run) return run(entry, job.comm, job.stop);
        job.comm.on_root([&] { describe(entry); });
        return core::kDone;
      },
      more);
}

}  // namespace microdit::jobs

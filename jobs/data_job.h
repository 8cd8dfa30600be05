// What the three data stages share: a catalogue entry, a dry run, the stage.
#pragma once

#include <string>

#include "core/log.h"
#include "ingest/stages.h"
#include "job.h"

namespace microdit::jobs {

/// `run` is the stage, `describe` prints what it would do (--dry-run; rank 0; false: stopped), `more` what --print-config says beside the entry.
inline int data_job(int argc, char** argv, JobInfo info,
                    int (*run)(const ingest::CatalogueEntry&, comm::Communicator&, const core::StopFlag&),
                    bool (*describe)(const ingest::CatalogueEntry&, const core::StopFlag&),
                    std::string (*more)(const ingest::CatalogueEntry&) = nullptr) {
  info.config_folder = "datasets";
  return run_config_job<ingest::CatalogueEntry>(
      argc, argv, info,
      [&](Job& job, const ingest::CatalogueEntry& entry) -> int {
        if (run != ingest::download) ingest::require_data(entry, info.name);
        if (!job.line.dry_run) return run(entry, job.comm, job.stop);
        bool whole = true;
        job.comm.on_root([&] { whole = describe(entry, job.stop); });
        if (!job.comm.any(!whole)) return core::kDone;
        core::log_info("{}: the dry run was stopped as asked", info.name);
        return core::kRequeueMe;
      },
      more);
}

}  // namespace microdit::jobs

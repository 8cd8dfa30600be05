// What becomes of a stage's folder when a share of the work is done.
#pragma once

#include <string>

#include "core/stop_flag.h"
#include "ingest/stage_driver.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// On rank 0. Compares the names of items and records, names what failed; looks at every record, and closes the folder, when
/// all are accounted for.
/// "complete"; "waiting" (for other tasks); "failed" (`own_failed`: an item of this job failed and may not); "stopped".
/// UserError when items are recorded that are not the plan's, or the plan's own check refuses.
std::string judge_folder(const StagePlan& plan, store::StageFolder& folder, bool own_failed,
                         const core::StopFlag& stop);

}  // namespace microdit::ingest

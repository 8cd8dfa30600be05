// What becomes of a stage's folder when a share of the work is done.
#pragma once

#include <string>

#include "core/stop_flag.h"
#include "ingest/stage_driver.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// What became of this job's own items, all ranks together.
struct OwnItems {
  bool failed = false;      ///< one stays failed
  bool unreadable = false;  ///< one stays so by a fault
};

/// On rank 0, before any work that the verdict would refuse: UserError when items are recorded that are not the plan's.
void refuse_unknown(const StagePlan& plan);

/// On rank 0. Compares the names of items and records, names what failed; looks at every record, and closes the folder, when
/// all are accounted for.
/// "complete"; "waiting" (for other tasks); "failed" (an own item failed and may not); "stopped".
/// UserError when items are recorded that are not the plan's, or the plan's own check refuses; FaultError, which names them,
/// when own items are unreadable. No folder is closed while an unreadable item is recorded, whatever max_failed_items says.
std::string judge_folder(const StagePlan& plan, store::StageFolder& folder, const OwnItems& own,
                         const core::StopFlag& stop);

/// Of the file that a fault's reason begins with: the command after which a stage makes it again, in the same bytes, where no
/// machine can read it any more. Empty where it is none that a stage made.
std::string way_out(const StagePlan& plan, const std::string& reason);

}  // namespace microdit::ingest

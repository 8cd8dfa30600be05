// Shards of another recipe of the same dataset that would be made byte for byte alike: linked, not encoded again.
#pragma once

#include <vector>

#include "core/stop_flag.h"
#include "ingest/precompute_plan.h"

namespace microdit::ingest {

/// Takes over what it can of the items `own` that are not done yet; each is linked (copied where links
/// fail) after its samples' SHA-256, its size and its settings were found equal, and committed. Says how many. Returns the
/// items that are still to be made; all that it did not come to when `stop` was seen. Before any item is made: whether encoders
/// are needed, and so whether they are refused, has to be known then.
std::vector<const LatentItem*> take_over(const PrecomputePlan& plan,
                                         const std::vector<const LatentItem*>& own,
                                         const core::StopFlag& stop);

}  // namespace microdit::ingest

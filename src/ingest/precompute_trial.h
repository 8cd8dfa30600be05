// What a sample costs: measured on a few pictures and captions of the first shard, for dry runs.
#pragma once

#include <optional>
#include <string>

#include "core/stop_flag.h"
#include "ingest/precompute_plan.h"

namespace microdit::ingest {

struct Trial {
  std::string device;
  double pictures_per_s = 0;
  double captions_per_s = 0;
  double captions_per_sample = 0;  ///< unique within their shard
  double image_bytes = 0;          ///< of an images shard, per sample
  double text_bytes = 0;           ///< of a text shard, per sample
};

/// Loads the encoders and encodes two batches of either kind; writes nothing. Nothing when `stop` was seen, which is looked
/// at before each picture and each batch.
std::optional<Trial> try_first_shard(const CatalogueEntry& entry, const PrecomputePlan& plan,
                                     const core::StopFlag& stop);

}  // namespace microdit::ingest

// The captions of a samples shard: each text once, in first-seen order, and which of them every sample has.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ingest/samples_shard.h"

namespace microdit::ingest {

struct CaptionTable {
  std::vector<std::string> unique;
  std::vector<std::int64_t> offsets{0};  ///< sample i owns entries [offsets[i], offsets[i + 1])
  std::vector<std::int32_t> rows;        ///< row in `unique`
  std::vector<std::uint8_t> sources;     ///< place in `sources`
  /// Each sample twice, one after the other, with the same captions.
  void double_samples();
};

/// `sources`: the facts' caption_sources. UserError when a source has not one caption per sample.
CaptionTable tabulate_captions(const SamplesShard& shard, const std::vector<std::string>& sources);

}  // namespace microdit::ingest

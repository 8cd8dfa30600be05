// A few samples of a folder for people to look at, spread evenly over all of its rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "ingest/data_summary.h"

namespace microdit::ingest {

struct DrawnRow {
  std::string file;      ///< the shard
  std::int64_t row = 0;  ///< in it
  std::string key;
  std::int64_t width = 0, height = 0;                         ///< of the picture it came from
  std::vector<std::pair<std::string, std::string>> captions;  ///< source, text; those that are not empty
  std::vector<std::byte> payload;     ///< the encoded picture; or latents f16 of `shape`, scaled
  std::vector<std::int64_t> shape{};  ///< [C, h, w] of latents
};

/// Of latents: the size that most samples have, the smallest of several; 0 when there are none.
std::int64_t drawn_size(const DataCounts& counts);

/// Row floor((2k + 1) N / 2n) of the N rows of the shards that could be read, for k < n = min(most, N); of latents the next row
/// of that shard that has drawn_size. One row is held at a time. A shard that cannot be read after all joins the damage.
void draw_rows(DataSummary& summary, std::int64_t most, const std::function<void(DrawnRow&&)>& take);

}  // namespace microdit::ingest

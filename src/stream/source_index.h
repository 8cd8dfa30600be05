// Where every sample of a split lies: read once per folder, then no HDF5 any more.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "store/manifest.h"
#include "store/shard.h"
#include "stream/latent_stream.h"

namespace microdit::stream {

/// A column's rows in the file, and what each must hash to (empty when not verified).
struct RowTable {
  std::string column;
  std::uint64_t offset = 0;
  std::uint64_t row_bytes = 0;
  std::vector<std::uint64_t> hashes;
};

struct ShardIndex {
  std::filesystem::path path;
  RowTable latents, text;
  std::vector<std::uint32_t> rows;            ///< of the split, ascending
  std::vector<std::uint32_t> choice_offsets;  ///< [rows + 1] into `choices`
  std::vector<std::int32_t> choices;          ///< text rows a sample of the split may show
  std::int64_t first = 0;                     ///< index in the source of its first sample
};

struct SourceIndex {
  core::Json facts;
  std::vector<ShardIndex> shards;
  std::int64_t num_samples = 0;
  std::int64_t num_without_caption =
      0;  ///< samples that no wanted caption belongs to: always the null condition
  /// The shard that holds sample `index` of this source.
  const ShardIndex& shard_of(std::int64_t index) const;
};

/// Reads the index of one folder. UserError: incomplete folder, size or column missing, columns that do not
/// fit.
SourceIndex read_index(const SourceConfig& source, const StreamConfig& config);

/// What all sources agree on. UserError names the two folders and the key where they do not.
StreamFacts agree(const std::vector<SourceIndex>& sources, const StreamConfig& config);

}  // namespace microdit::stream

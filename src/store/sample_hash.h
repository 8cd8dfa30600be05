// The hash of one sample covers all the bytes that belong to it, in a fixed order. It is the xxh3-64 of the
// little-endian xxh3-64s of its pieces: its row of every fixed column, its byte range of every variable
// column, its row of every optional column where it has one, and for every owned entry its row of every shared column. So a reader of one row can check it
// alone, and shared rows are hashed once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/shard.h"

namespace microdit::store {

/// How a sample's bytes lie in a shard's columns.
struct SampleLayout {
  std::vector<std::string> fixed;  ///< columns with one row per sample, in this order
  std::vector<std::string>
      variable;  ///< columns "<name>" with "<name>_offsets" [n+1], one byte range per sample
  std::string
      via_offsets;        ///< optional i64 column [n+1]: sample i owns entries [o[i], o[i+1]) of `via_index`
  std::string via_index;  ///< optional i32 column: a row number in each of `shared`
  std::vector<std::string> shared;  ///< columns whose rows samples share (text latents); hashed per owned row
  std::vector<std::string>
      optional{};  ///< columns "<name>" with "<name>_row" i32 [n]: its row, -1 = it has none
};

/// Layout of samples/ and latents/ shards, from the columns that are there (attribute "layout" of the shard).
core::Json to_json(const SampleLayout& layout);
SampleLayout layout_from_json(const core::Json& json);

/// Hash per sample of contents that are about to be written / of an open shard. An offset or row number that
/// leaves its column is a bug of ours in contents and a UserError (file, sample) in a shard.
std::vector<std::uint64_t> hash_samples(const ShardContents& contents, const SampleLayout& layout);
std::vector<std::uint64_t> hash_samples(const ShardReader& shard, const SampleLayout& layout);
/// The same of one sample, reading little else.
std::uint64_t hash_sample(const ShardReader& shard, const SampleLayout& layout, std::int64_t sample);
/// Samples of a shard that are not what their xxh3 says, ascending; none where the shard has no layout or no xxh3.
std::vector<std::int64_t> damaged_samples(const ShardReader& shard);

}  // namespace microdit::store

// What the small columns of a shard say of its samples; pictures, latents and rows of text are not touched.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/json.h"
#include "ingest/histogram.h"
#include "ingest/number_counts.h"
#include "store/shard.h"

namespace microdit::ingest {

enum class DataKind { samples, latents };

/// What counting needs of a folder's facts.
struct DataFacts {
  DataKind kind = DataKind::samples;
  std::vector<std::string> caption_sources;
  std::vector<std::string> split_names;
  std::vector<std::int64_t> sizes;  ///< of latents
  std::int64_t text_length = 0;     ///< of latents: tokens that the encoder sees
  /// UserError (names `folder`) for the facts of anything else.
  static DataFacts from_json(const core::Json& facts, const std::filesystem::path& folder);
};

/// Of one shard, or added up.
struct DataCounts {
  std::int64_t rows = 0;                           ///< samples with pictures
  std::map<std::uint8_t, std::int64_t> splits{};   ///< of these
  Histogram side{}, aspect{};                      ///< likewise
  std::int64_t widest = 0, highest = 0;            ///< pixels
  std::map<std::int64_t, std::int64_t> latents{};  ///< size -> samples that have it
  std::int64_t captioned_rows = 0;                 ///< samples whose captions were counted
  std::int64_t without_caption = 0;                ///< of these
  std::vector<std::int64_t> captions{};            ///< by source, those that are not empty
  /// Characters of each caption that is not empty; of latents tokens, each text once a shard.
  Histogram length{};
  std::int64_t longest = 0;                       ///< likewise
  std::map<std::string, NumberCounts> columns{};  ///< of samples: numbers that stay beside them

  void merge(const DataCounts& other);
};

/// Of a shard of samples; of the pictures and of the text of a shard of latents. UserError (names the shard) when a column is
/// missing, damaged, or does not fit `rows`.
DataCounts count_samples(const store::ShardReader& shard, std::int64_t rows, const DataFacts& facts);
DataCounts count_images(const store::ShardReader& shard, std::int64_t rows, const DataFacts& facts);
DataCounts count_text(const store::ShardReader& shard, std::int64_t rows, const DataFacts& facts);

}  // namespace microdit::ingest

// What lies in a folder of samples or latents: its manifest added up, and the small columns of its shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "ingest/data_counts.h"
#include "ingest/records.h"
#include "ingest/skips.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// A file that is missing or not what the manifest says, and the way out.
struct DataDamage {
  std::string file, what, remedy;
};

struct DataSummary {
  std::filesystem::path folder;
  core::Json json;  ///< the facts as they stand
  DataFacts facts;
  // Of the manifest.
  std::int64_t generation = 0;
  std::int64_t items = 0;
  std::map<std::string, std::string> failed{};  ///< item -> reason
  std::int64_t shards = 0;
  std::uint64_t bytes = 0;     ///< of all shards
  std::int64_t rows = 0;       ///< samples with pictures
  std::int64_t text_rows = 0;  ///< of latents: samples with text
  std::int64_t records = 0;    ///< of samples: what clean read, left out or not
  Skips skipped{};             ///< of samples
  Skips lost_captions{};       ///< of samples that were kept: "SOURCE: REASON"
  Skips lost_columns{};        ///< likewise: "COLUMN: no number", with the value
  Skips without_row{};         ///< of samples: pictures without a row in a joined table, by table
  PassedOver passed_over{};    ///< of samples: members of no record
  Skips failed_pictures{};     ///< of latents: samples that no worker could decode; they have no latents
  std::int64_t texts = 0;      ///< of latents: captions encoded, each once a shard
  std::int64_t cut = 0;        ///< of these, longer than the encoder sees
  std::int64_t longest = 0;    ///< of these, tokens before the cut
  // Of the shards that could be read.
  DataCounts counts{};
  std::vector<store::ShardEntry> readable{};  ///< in the manifest's order
  std::vector<DataDamage> damage{};

  /// Of a file of this folder: its stage makes it again. `exists`: it must be removed first.
  std::string remedy(bool exists) const;
};

/// Reads the manifest, then the small columns of shard after shard; with a progress line where that takes long. What is
/// damaged is listed, not thrown. UserError: no manifest, a damaged one, one of another stage; FaultError: a disk that fails.
DataSummary summarize_data(const std::filesystem::path& folder);

}  // namespace microdit::ingest

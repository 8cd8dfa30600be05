// The kept records of one samples shard, and the shard they become.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/stop_flag.h"
#include "ingest/catalogue.h"
#include "ingest/records.h"
#include "store/manifest.h"
#include "store/sample_hash.h"

namespace microdit::ingest {

/// A record that passed every filter.
struct KeptRecord {
  ReadRecord record;
  std::int64_t width = 0, height = 0;
  std::uint64_t image_bytes = 0, image_hash = 0;
};

class CleanRows {
 public:
  /// `files`: names of the item's raw files, for pictures that stay where they are (entry.images: reference).
  CleanRows(const CatalogueEntry& entry, std::vector<std::string> files)
      : entry_(entry), files_(std::move(files)) {}
  void add(KeptRecord&& record);
  std::int64_t count() const { return static_cast<std::int64_t>(rows_.size()); }
  std::uint64_t payload() const { return payload_; }  ///< bytes of pictures and captions held
  /// Writes and publishes the shard, its rows in an order that its name alone decides, and forgets them. Every picture
  /// is held once. `attributes` are added to the shard's own.
  /// Nothing when `stop` was seen.
  std::optional<store::ShardEntry> write(const std::filesystem::path& path, const core::Json& attributes,
                                         const core::StopFlag& stop);

 private:
  void add_pictures(store::ShardContents& contents, store::SampleLayout& layout) const;
  const CatalogueEntry& entry_;
  std::vector<std::string> files_;
  std::vector<KeptRecord> rows_;
  std::uint64_t payload_ = 0;
};

}  // namespace microdit::ingest

// The kept records of one samples shard, and the shard they become.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "ingest/catalogue.h"
#include "ingest/records.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// A record that passed every filter.
struct KeptRecord {
  ReadRecord record;
  std::int64_t width = 0, height = 0;
  std::uint16_t file = 0;  ///< index of the raw file among the item's
};

class CleanRows {
 public:
  explicit CleanRows(const CatalogueEntry& entry) : entry_(entry) {}
  void add(KeptRecord&& record);
  std::int64_t count() const { return static_cast<std::int64_t>(rows_.size()); }
  std::uint64_t payload() const { return payload_; }  ///< bytes of pictures held
  /// Writes and publishes the shard, its rows in an order that its name alone decides, and forgets them. Every picture
  /// is held once. `attributes` are added to the shard's own.
  store::ShardEntry write(const std::filesystem::path& path, const core::Json& attributes);

 private:
  const CatalogueEntry& entry_;
  std::vector<KeptRecord> rows_;
  std::uint64_t payload_ = 0;
};

}  // namespace microdit::ingest

// Shards of an archive that is not finished: what a later life needs to go on behind the last of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ingest/skips.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// How far the records of an item came: what lies before `next` is in shards or skipped.
struct CleanState {
  std::int64_t next = 0;  ///< first raw record that is in no shard
  std::int64_t kept = 0;
  Skips skipped{}, lost_captions{}, lost_columns{};
  Skips without_row{};               ///< kept records that a joined table lacks, by its name
  Skips captions{};                  ///< that kept records have, by source
  std::set<std::int64_t> classes{};  ///< that they are of, where classes have names
  bool knows_all =
      true;  ///< captions and classes are of all parts: those of earlier versions do not say them
  std::vector<store::ShardEntry> shards{};
  std::vector<std::string> fingerprints{};  ///< of the shards (ShardReader), hex
  /// `captions` and `classes`, where they are known.
  void add_kept_to(core::Json& json) const;
};

/// records/<item>-<nnnnn>.part.json beside each published shard of an unfinished item.
class CleanParts {
 public:
  CleanParts(std::filesystem::path folder, const store::Item& item)
      : folder_(std::move(folder)), item_(item) {}
  /// What the parts of an earlier life say, as far as they are whole, of these inputs, and their shards are there.
  CleanState read() const;
  /// After a shard is published: `state` includes it.
  void write(const CleanState& state) const;
  /// After the item's record is committed: all parts, and shards behind the last of `shards` (of other inputs).
  void remove(std::size_t shards) const;
  std::filesystem::path shard(std::size_t number) const;

 private:
  std::filesystem::path part(std::size_t number) const;
  std::optional<CleanState> read_one(std::size_t number) const;
  std::filesystem::path folder_;
  const store::Item& item_;
};

}  // namespace microdit::ingest

// Write-once shards: built aside, closed, reopened, compared, synced, renamed.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/stop_flag.h"
#include "store/shard.h"

namespace microdit::store {

/// One shard, of which large columns come row by row and are never held. SystemError on any HDF5 or I/O error; of a
/// shard that is not finished nothing stays.
class ShardWriter {
 public:
  explicit ShardWriter(std::filesystem::path path);
  /// `large`: name, dtype and whole shape, no bytes. Room for all of them is laid out in a file aside.
  ShardWriter(std::filesystem::path path, std::span<const Column> large);
  ~ShardWriter();
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  /// The next rows of a large column, packed.
  void append(const std::string& column, std::span<const std::byte> rows);
  /// A large column whose rows have all come, for the contents.
  Column written(const std::string& column) const;
  /// Adds what `contents` holds beside the written columns, compares every byte with what it was to be, publishes. The
  /// file's bytes depend on the rows, `large` and `contents` alone. Returns its SHA-256. It is read
  /// back once.
  std::string finish(const ShardContents& contents);
  /// The same; nothing when `stop` was seen, and nothing is published then.
  std::optional<std::string> finish(const ShardContents& contents, const core::StopFlag& stop);

 private:
  struct Rows;
  std::filesystem::path path_, aside_;
  std::map<std::string, std::unique_ptr<Rows>> large_;
};

/// A shard that is held whole.
std::string write_shard(const std::filesystem::path& path, const ShardContents& contents);

}  // namespace microdit::store

// What was found of an MDS folder's shards while their hashes were checked: kept file by file, since that may take hours.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "core/append_file.h"

namespace microdit::stream {

/// A file of entries: u64 shard, u64 rows, u64 xxh3 of what follows, u64 xxh3 of each row. Safe to use from several threads.
class MdsChecked {
 public:
  /// Reads what earlier lives left; what is cut off at its end is given up. An empty path: nothing is kept.
  explicit MdsChecked(const std::filesystem::path& path);
  /// The rows' hashes, if the shard was checked before.
  const std::vector<std::uint64_t>* find(std::size_t shard) const;
  void add(std::size_t shard, std::span<const std::uint64_t> rows);

 private:
  std::map<std::size_t, std::vector<std::uint64_t>> found_;
  std::mutex lock_;
  std::unique_ptr<core::AppendFile> file_;
};

}  // namespace microdit::stream

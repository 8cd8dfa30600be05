// Where each sample of an MDS folder lies, read once: 4 bytes a sample, and 8 more for its checksum where the folder states hashes.
//
// Little endian: "MDSTABLE", u32 version, u32 has hashes, 32 bytes SHA-256 of the index, u64 shards, u64 samples,
// per shard u32 offsets[n + 1], padding to 8 bytes, u64 xxh3 of every sample (or none), u64 xxh3 of all before.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "stream/mds_index.h"

namespace microdit::stream {

struct MdsOpening {
  /// Where the table, and what zstd files unpack to, are kept between lives (the run's own; the data may be read-only).
  /// Empty: the table is made in memory at each start, and zstd files are refused.
  std::filesystem::path kept{};
  bool verify = true;  ///< check the hashes that the index states: every byte is read once
  std::int64_t threads = 2;
  Once once = [](const std::function<std::string()>& work) { return work(); };  ///< one process
  /// Called between shards; throws to leave.
  std::function<void()> look_up = [] {};
};

/// Where a sample lies in its file.
struct MdsPlace {
  const MdsShard* shard = nullptr;
  std::size_t shard_number = 0;
  std::uint32_t begin = 0, end = 0;
  std::optional<std::uint64_t> hash;
};

class MdsTable {
 public:
  /// UserError: a file that is missing, damaged or not what the index says.
  MdsTable(const MdsIndex& index, const MdsOpening& opening);
  MdsPlace at(std::int64_t sample) const;
  /// The file with the samples: the folder's own, or what its zstd file was unpacked to.
  const std::filesystem::path& file(std::size_t shard_number) const { return files_[shard_number]; }

 private:
  void adopt(std::shared_ptr<const std::byte> memory, std::size_t size);
  bool load(const std::filesystem::path& path);

  const MdsIndex* index_;
  std::vector<std::filesystem::path> files_;
  std::shared_ptr<const std::byte> memory_;
  std::span<const std::uint32_t> offsets_;
  std::span<const std::uint64_t> hashes_;  ///< empty: none
};

}  // namespace microdit::stream

// Rows of bytes that a shard holds, or that lie in other files which it names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "store/shard.h"

namespace microdit::store {

/// Column "<name>" with "<name>_offsets"; or, without it: "<name>_file" u32 (or u16), "<name>_offset" u64, "<name>_length" u64,
/// "<name>_xxh3" u64, and the attributes "<name>_files" (names) and "<name>_folder" ("../../raw/NAME", from the shard's
/// folder). Any thread may read.
class ByteRows {
 public:
  /// UserError (names the shard) when the columns do not fit one another.
  ByteRows(const ShardReader& shard, const std::string& name);
  std::int64_t size() const { return size_; }
  std::int64_t length(std::int64_t row) const;
  /// Rows that lie elsewhere are checked against their checksum: UserError names the file.
  std::vector<std::byte> read(std::int64_t row) const;

 private:
  class OpenFile;
  std::shared_ptr<OpenFile> open(std::uint32_t file) const;
  [[noreturn]] void broken(const std::string& what) const;

  const ShardReader& shard_;
  std::string name_;
  std::int64_t size_ = 0;
  std::vector<std::int64_t> offsets_;  ///< of rows in the shard
  std::vector<std::uint32_t> file_;    ///< else: of each row
  std::vector<std::uint64_t> offset_, length_, hash_;
  std::vector<std::filesystem::path> files_;
  mutable std::mutex lock_;
  mutable std::shared_ptr<OpenFile> last_;
};

}  // namespace microdit::store

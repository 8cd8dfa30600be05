// A table's file: rows by key, sorted, in blocks; an index of the blocks behind them.
//
// Little endian; "v" is an unsigned LEB128 number, "s" a v and so many bytes.
//   "MDTABLE\n"  u32 version  u32 0
//   blocks, each: entries, ascending by the bytes of their keys, rows of one key in the source's order and never in two blocks:
//                   s key  s row (a cell per column, see value.h)
//                 u64 xxh3 of all before in the block
//   tail:  v columns, s name each;  s what it was made from (JSON);
//          v rows, v keys, v repeated, v without a key, v damaged;
//          v blocks, each: s fence  v bytes. A fence is the shortest text that is above all keys of the block before and not above
//          the first of its own; the first is empty.
//   u64 offset of the tail  u64 its bytes  u64 xxh3 of the file's first 16 bytes, the tail and these two numbers  "MDTABEND"
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/stop_flag.h"
#include "tables/hidden_file.h"

namespace microdit::tables {

inline constexpr std::string_view kTableMagic = "MDTABLE\n", kTableEnd = "MDTABEND";
inline constexpr std::uint32_t kTableVersion = 1;
inline constexpr std::size_t kTableHeadBytes = 16, kTableTrailerBytes = 32, kBlockHashBytes = 8;

/// What was read, and what became of it.
struct TableCounts {
  std::uint64_t rows = 0;  ///< without damaged ones, but for texts
  std::uint64_t keys = 0;
  std::uint64_t repeated = 0;     ///< rows whose key an earlier row has
  std::uint64_t without_key = 0;  ///< rows whose template could not be filled
  /// Files of kind texts that are not UTF-8 or too large: their rows have no text. Else rows that could not be read, or whose key or text
  /// is none: left out.
  std::uint64_t damaged = 0;
  std::string without_key_example{};  ///< "row 7: `id` is absent"; examples are not kept in the file
  std::string damaged_example{};      ///< the member's name, or what is wrong with the line
  core::Json to_json() const;
};

class TableWriter {
 public:
  /// `block_bytes`: a block ends with the key that reaches them.
  TableWriter(const std::filesystem::path& path, std::size_t block_bytes, const core::StopFlag& stop);
  /// Keys ascend; several rows of one key in their order.
  void add(std::string_view key, std::string_view row);
  /// Ends the file and makes it visible.
  void finish(const std::vector<std::string>& columns, std::string_view made_from, const TableCounts& counts);

 private:
  void end_block();
  HiddenFile file_;
  std::size_t block_bytes_;
  std::string block_, key_, head_, index_;
  std::uint64_t blocks_ = 0;
};

}  // namespace microdit::tables

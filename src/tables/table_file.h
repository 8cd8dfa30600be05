// A table that is there: rows by key. Any number of threads may ask at once.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/input_file.h"
#include "core/stop_flag.h"
#include "tables/table_writer.h"
#include "tables/value.h"

namespace microdit::tables {

class TableFile {
 public:
  /// Reads the index: some 10 MiB for 15 M rows. UserError, which names the file and what to do, where it is missing, no table,
  /// damaged or of another version; InputFault where the device fails.
  explicit TableFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::vector<std::string>& columns() const { return columns_; }
  /// The place of a column in a row; -1 = there is none.
  int column(std::string_view name) const;
  const TableCounts& counts() const { return counts_; }
  const std::string& made_from() const { return made_from_; }

  /// The rows of exactly this key in the source's order; none where it is not there. At most one read of the disk, none where a
  /// neighbour was asked for before. UserError where the block is damaged.
  std::vector<Row> find(std::string_view key) const;

  /// Reads all blocks and checks what lookups rely on: checksums, order, counts. UserError as above; core::Stopped.
  void verify(const core::StopFlag& stop = core::StopFlag()) const;

 private:
  struct Block {
    std::size_t number = 0;
    std::string bytes{};
  };
  struct Slot {
    std::mutex mutex{};
    std::shared_ptr<const Block> block{};
  };
  [[noreturn]] void damaged(std::string_view what) const;
  std::string read_tail();
  void parse_tail(std::string_view tail, std::uint64_t offset);
  void parse_index(std::string_view tail, std::uint64_t offset);
  std::string_view fence(std::size_t block) const;
  std::string read_block(std::size_t number) const;
  std::shared_ptr<const Block> block(std::size_t number) const;
  std::string_view take_string(std::string_view& bytes, std::string_view what) const;
  std::uint64_t take_count(std::string_view& bytes, std::string_view what) const;

  core::InputFile file_;
  std::vector<std::string> columns_;
  TableCounts counts_;
  std::string made_from_;
  std::string fences_;                        ///< one behind the other
  std::vector<std::uint32_t> fence_ends_;     ///< in fences_
  std::vector<std::uint64_t> block_offsets_;  ///< one more than blocks
  mutable std::array<Slot, 64> slots_;  ///< blocks read last: members of an archive have neighbouring keys
};

}  // namespace microdit::tables

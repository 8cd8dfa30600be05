// Rows sorted by key in a fixed amount of memory: sorted runs in one hidden file, merged at the end. Rows of one key stay in the
// order in which they came.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/stop_flag.h"
#include "tables/hidden_file.h"

namespace microdit::tables {

class RowSorter {
 public:
  /// `scratch` names the hidden file; `memory` bytes hold rows, later the merge's buffers. With `first_only` later rows of a key
  /// may be left out.
  RowSorter(const std::filesystem::path& scratch, std::size_t memory, bool first_only,
            const core::StopFlag& stop);
  void add(std::string_view key, std::string_view row);
  /// Bytes of all keys and rows that were added.
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t key_bytes() const { return key_bytes_; }
  std::uint64_t rows() const { return rows_; }
  /// Gives all rows, once, and removes the hidden file. core::Stopped.
  void merge(const std::function<void(std::string_view key, std::string_view row)>& give);

 private:
  struct Entry {
    std::uint64_t order;   ///< bytes of the key behind what all keys of the run begin with, as a number
    std::uint64_t offset;  ///< of the record: u32 key bytes, u32 row bytes, key, row
  };
  struct Run {
    std::uint64_t begin, end;
  };
  class Cursor;
  std::string_view key_at(std::uint64_t offset) const;
  std::string_view record_at(std::uint64_t offset) const;
  std::span<Entry> entries();
  void sort_entries();
  void spill();
  std::optional<HiddenFile> file_;
  std::size_t memory_;
  bool first_only_;
  const core::StopFlag& stop_;
  std::unique_ptr<char[]> buffer_;  ///< records from the front, entries from the back
  std::size_t used_ = 0, num_entries_ = 0;
  std::uint64_t bytes_ = 0, key_bytes_ = 0, rows_ = 0;
  std::size_t shared_ = 0;  ///< bytes that all keys of this run begin with
  std::vector<Run> runs_;
};

}  // namespace microdit::tables

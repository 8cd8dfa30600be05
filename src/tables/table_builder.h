// Rows in any order -> a table's file, in a fixed amount of memory. The bytes depend on the rows and the spec alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/stop_flag.h"
#include "tables/key_template.h"
#include "tables/row_sorter.h"
#include "tables/table_spec.h"
#include "tables/table_writer.h"

namespace microdit::tables {

struct BuildOptions {
  std::size_t memory = 96u << 20;  ///< bytes for sorting; readers and the index come on top
  std::set<std::string>
      numbers{};  ///< columns by their name in the table, each of which must hold a number somewhere
  std::string made_from{};  ///< kept in the file: what tells a later life that it is the right one (JSON)
};

class TableBuilder {
 public:
  /// What a killed builder of this file left is removed. `stop` outlives the builder.
  TableBuilder(const std::filesystem::path& path, const TableSpec& spec, const core::StopFlag& stop,
               BuildOptions options = {});

  /// Columns that add() is given, in that order.
  const std::vector<std::string>& source_columns() const { return source_columns_; }
  /// The rows that are added next are of this part; without, of one that is called as the spec says.
  void begin(std::string part);
  /// A row without a key is counted, and no error; so is one whose key or text is not UTF-8, or whose key holds a zero byte: it is left
  /// out (`damaged`). UserError where a limit is passed. core::Stopped.
  void add(std::span<const Value> row);
  /// A row that could not be read; or the row that is added next has lost its text.
  void count_damaged(std::string_view name);
  /// Rows added so far.
  std::uint64_t rows() const { return counts_.rows; }
  /// Sorts, writes, publishes. UserError where no row has a key, or more than one and one in 100 are damaged; SystemError where the disk refuses; core::Stopped.
  TableCounts finish();

 private:
  void merge_into(TableWriter& writer);
  std::string damage_of_row(std::span<const Value> row) const;
  void demand_rows() const;
  [[noreturn]] void wrong(const std::string& what) const;
  std::filesystem::path path_;
  TableSpec spec_;
  const core::StopFlag& stop_;
  BuildOptions options_;
  KeyTemplate key_template_;
  std::vector<std::string> source_columns_, columns_;
  std::vector<std::size_t> key_places_, column_places_;  ///< in a row
  RowSorter sorter_;
  TableCounts counts_;
  std::uint64_t left_out_ = 0;  ///< of its rows: damaged
  Row key_cells_, kept_cells_;
  std::string part_;               ///< for messages
  std::uint64_t before_part_ = 0;  ///< rows
  std::vector<bool> seen_;         ///< of each kept column: some row has it
  struct Number {
    bool must = false, seen = false;
    std::string instead{};  ///< the first text that is none
  };
  void note_number(const Value& cell, Number& column) const;
  std::vector<Number> numbers_;  ///< likewise
  std::string key_, row_;
};

}  // namespace microdit::tables

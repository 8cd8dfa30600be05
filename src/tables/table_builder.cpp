// Rows get their key and their bytes; the sorter brings them into order; the writer puts them into blocks.
#include "tables/table_builder.h"

#include <algorithm>

#include "core/error.h"
#include "core/utf8.h"
#include "tables/limits.h"
#include "tables/missing.h"
#include "text/strip.h"

namespace microdit::tables {
namespace {

// Fences stay in memory wherever the table is open: with larger tables blocks grow, so that these stay below kFenceBytes, taken
// to be as long as keys. A function of the rows alone.
constexpr std::size_t kLeastBlock = 8 << 10, kMostBlock = 1u << 20;
constexpr std::uint64_t kForgiven = 1, kDamagedShare = 100;  // damaged rows: one, and one of so many
constexpr std::uint64_t kFenceBytes = 14u << 20, kBesideFence = 12;

std::size_t block_bytes(const RowSorter& sorter) {
  const std::uint64_t fence = sorter.key_bytes() / std::max<std::uint64_t>(sorter.rows(), 1) + kBesideFence;
  const std::uint64_t most_blocks = kFenceBytes / fence;
  return static_cast<std::size_t>(
      std::clamp<std::uint64_t>(sorter.bytes() / most_blocks, kLeastBlock, kMostBlock));
}

/// What else than damage it may be, and what to do.
const char* advice_for(const std::string& kind) {
  if (kind == "csv") return "see `separator` and `quotes`, or convert the file to UTF-8";
  if (kind == "json") return "is each line one object? See `rows`, or convert the file to UTF-8";
  return kind == "texts" ? "convert the texts to UTF-8" : "write its texts as UTF-8";
}

}  // namespace

TableBuilder::TableBuilder(const std::filesystem::path& path, const TableSpec& spec,
                           const core::StopFlag& stop, BuildOptions options)
    : path_(path),
      spec_(spec),
      stop_(stop),
      options_(std::move(options)),
      key_template_(spec.key, spec.place("key")),
      source_columns_(spec.source_columns()),
      sorter_(path.string() + ".rows", options_.memory, spec.repeated == "first", stop),
      part_(spec.name()) {
  const auto place = [&](const std::string& name) {
    return static_cast<std::size_t>(std::lower_bound(source_columns_.begin(), source_columns_.end(), name) -
                                    source_columns_.begin());
  };
  for (const std::string& name : key_template_.names()) key_places_.push_back(place(name));
  for (const auto& [name, column] : spec_.columns) {
    columns_.push_back(name);
    column_places_.push_back(place(column));
    numbers_.push_back({.must = options_.numbers.contains(name)});
  }
  key_cells_.resize(key_places_.size());
  kept_cells_.resize(column_places_.size());
  seen_.resize(column_places_.size());
}

void TableBuilder::wrong(const std::string& what) const {
  core::user_error("{}: row {}: {}", part_, counts_.rows - before_part_, what);
}

void TableBuilder::begin(std::string part) {
  part_ = std::move(part);
  before_part_ = counts_.rows;
}

void TableBuilder::add(std::span<const Value> row) {
  if (stop_.requested()) throw core::Stopped();
  ++counts_.rows;
  if (counts_.rows > limits::kRows) wrong(fmt::format("more than {} rows", limits::kRows));
  for (std::size_t i = 0; i < key_places_.size(); ++i) key_cells_[i] = row[key_places_[i]];
  if (const std::string why = key_template_.expand(key_cells_, key_); !why.empty()) {
    if (counts_.without_key++ == 0)
      counts_.without_key_example =
          fmt::format("{}row {}: {}", before_part_ > 0 ? part_ + ": " : "", counts_.rows - before_part_, why);
    return;
  }
  if (const std::string damage = damage_of_row(row); !damage.empty()) {
    ++left_out_;
    return count_damaged(fmt::format("{}: row {}: {}", part_, counts_.rows - before_part_, damage));
  }
  for (std::size_t i = 0; i < column_places_.size(); ++i) {
    const Value& cell = kept_cells_[i] = row[column_places_[i]];
    if (!is_null(cell)) seen_[i] = true;
    if (numbers_[i].must && !numbers_[i].seen) note_number(cell, numbers_[i]);
  }
  row_.clear();
  append_row(kept_cells_, row_);
  if (row_.size() > limits::kRowBytes)
    wrong(fmt::format("its columns have more than {} bytes", limits::kRowBytes));
  sorter_.add(key_, row_);
  if (sorter_.bytes() > limits::kSpilledBytes)
    wrong(fmt::format("the rows so far have more than {} bytes", limits::kSpilledBytes));
}

/// What is wrong with its key or its text; "" where nothing is.
std::string TableBuilder::damage_of_row(std::span<const Value> row) const {
  if (key_.find('\0') != key_.npos) return "its key holds a zero byte, which no path of a file can";
  if (core::first_invalid_utf8(key_)) return "its key is not UTF-8; convert the file to UTF-8";
  for (const std::size_t place : column_places_)
    if (const auto* text = std::get_if<std::string>(&row[place]); text && core::first_invalid_utf8(*text))
      return fmt::format("its `{}` is not UTF-8; convert the file to UTF-8", source_columns_[place]);
  return "";
}

void TableBuilder::note_number(const Value& cell, Number& column) const {
  column.seen = as_number(cell).has_value();
  if (!column.seen && column.instead.empty() && !is_missing(cell))
    column.instead = text::strip(as_text(cell));
}

void TableBuilder::count_damaged(std::string_view name) {
  if (counts_.damaged++ == 0) counts_.damaged_example = core::with_valid_utf8(name);
}

void TableBuilder::merge_into(TableWriter& writer) {
  const bool all = spec_.repeated == "all";
  std::string last;
  std::size_t rows = 0, bytes = 0;
  sorter_.merge([&](std::string_view key, std::string_view row) {
    const bool again = counts_.keys > 0 && key == last;
    if (again && !all) return;
    rows = again ? rows + 1 : 1;
    bytes = again ? bytes + key.size() + row.size() : key.size() + row.size();
    if (rows > limits::kRowsPerKey || bytes > limits::kKeyRowsBytes)
      core::user_error(
          "{}: more than {} rows, or {} bytes, for '{}': is this the key of one picture? Mend the template, "
          "or write "
          "`repeated: first`",
          spec_.place("key"), limits::kRowsPerKey, limits::kKeyRowsBytes, core::shortened(key, 200));
    if (!again) {
      ++counts_.keys;
      last = key;
    }
    writer.add(key, row);
  });
}

/// A table that could caption no picture is a mistake of the entry, or another file.
void TableBuilder::demand_rows() const {
  const bool lines = spec_.kind == "json";
  // Of a damaged text there is a row, without it; else none.
  const std::uint64_t good = counts_.rows, all = good + (spec_.kind == "texts" ? 0 : counts_.damaged);
  if (counts_.damaged > std::max(kForgiven, all / kDamagedShare) || (counts_.damaged > 0 && good == 0))
    core::user_error("{}: {} of {} rows are damaged ({}), more than one of {}: {}", spec_.place("rows"),
                     counts_.damaged, all, counts_.damaged_example, kDamagedShare, advice_for(spec_.kind));
  if (good == 0) core::user_error("{}: has no rows", spec_.place("rows"));
  if (good == counts_.without_key)
    core::user_error("{}: no row has it ({}); check the names of the columns", spec_.place("key"),
                     counts_.without_key_example);
  for (std::size_t i = 0; i < numbers_.size(); ++i)
    if (numbers_[i].must && !numbers_[i].seen && !numbers_[i].instead.empty())
      core::user_error(
          "{}: {}: `{}` holds no number, but texts such as '{}': what is no caption stays beside the samples "
          "as "
          "a number; make it a caption, or leave it out",
          spec_.place("columns"), columns_[i], source_columns_[column_places_[i]],
          core::shortened(numbers_[i].instead, 60));
  for (std::size_t i = 0; lines && i < seen_.size(); ++i)
    if (!seen_[i])
      core::user_error("{}: no row has a `{}`; check the names of the columns", spec_.place("columns"),
                       source_columns_[column_places_[i]]);
}

TableCounts TableBuilder::finish() {
  counts_.rows -= left_out_;
  demand_rows();
  TableWriter writer(path_, block_bytes(sorter_), stop_);
  merge_into(writer);
  counts_.repeated = counts_.rows - counts_.without_key - counts_.keys;
  writer.finish(columns_, options_.made_from, counts_);
  return counts_;
}

}  // namespace microdit::tables

// Leaves of the schema by their paths; lists by the path that they begin with, as writers name what lies inside differently.
#include "tables/parquet_schema.h"

#include <parquet/types.h>

#include <charconv>
#include <optional>
#include <vector>

#include "core/error.h"
#include "core/utf8.h"
#include "tables/limits.h"
#include "tables/parquet_column.h"

namespace microdit::tables::detail {
namespace {

constexpr std::size_t kShownBytes = 300;

std::string path_of(const parquet::SchemaDescriptor& schema, int column) {
  return schema.Column(column)->path()->ToDotString();
}

/// Columns of this path, or within it.
std::vector<int> columns_of(const parquet::SchemaDescriptor& schema, const std::string& path, bool within) {
  std::vector<int> found;
  for (int i = 0; i < schema.num_columns(); ++i) {
    const std::string one = path_of(schema, i);
    if (one == path || (within && one.starts_with(path + "."))) found.push_back(i);
  }
  return found;
}

std::string all_columns(const parquet::SchemaDescriptor& schema) {
  constexpr int kShown = 50;
  std::string all;
  for (int i = 0; i < schema.num_columns() && i < kShown; ++i)
    all += (i == 0 ? "" : ", ") + path_of(schema, i);
  return core::shortened(core::with_valid_utf8(all), kShownBytes);
}

/// "captions/2": the name of a list and an element of it.
std::optional<std::pair<std::string, int>> element_of(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  if (slash == name.npos || slash == 0 || slash + 1 == name.size()) return std::nullopt;
  int element = 0;
  const auto [end, error] = std::from_chars(name.data() + slash + 1, name.data() + name.size(), element);
  if (error != std::errc() || end != name.data() + name.size() || element < 0) return std::nullopt;
  return std::pair(name.substr(0, slash), element);
}

}  // namespace

ColumnPlace find_column(const parquet::SchemaDescriptor& schema, const std::string& name,
                        const std::string& origin) {
  const auto refuse_kind = [&](const std::string& what) {
    core::user_error("{}: its column '{}' is {}, which no column of a table can be", origin, name, what);
  };
  const auto checked = [&](int column, int element) {
    if (const std::string fault = column_fault(*schema.Column(column)); !fault.empty()) refuse_kind(fault);
    return ColumnPlace{column, element};
  };
  const auto repeats = [&](int column) { return schema.Column(column)->max_repetition_level(); };
  const std::vector<int> exact = columns_of(schema, name, false);
  if (exact.size() > 1) core::user_error("{}: it has more than one column '{}'", origin, name);
  if (exact.size() == 1 && repeats(exact[0]) == 0) return checked(exact[0], -1);
  for (const int column : columns_of(schema, name, true))
    if (repeats(column) > 0)
      refuse_kind(fmt::format("a list (its first element is '{}/0')", core::with_valid_utf8(name)));
  if (const auto element = element_of(name)) {
    const std::vector<int> lists = columns_of(schema, element->first, true);
    if (lists.size() > 1)
      core::user_error("{}: its column '{}' holds several columns: name the one within it ('{}/{}')", origin,
                       element->first, path_of(schema, lists[0]), element->second);
    if (lists.size() == 1 && repeats(lists[0]) > 1) refuse_kind("in a list of lists");
    if (lists.size() == 1 && repeats(lists[0]) == 0)
      core::user_error("{}: its column '{}' is no list, which '{}' asks for", origin, element->first, name);
    if (lists.size() == 1) return checked(lists[0], element->second);
  }
  core::user_error("{}: it has no column '{}', but: {}", origin, name, all_columns(schema));
}

}  // namespace microdit::tables::detail

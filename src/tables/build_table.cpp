// The reader for each kind; texts of an archive as rows.
#include "tables/build_table.h"

#include "core/error.h"
#include "core/utf8.h"
#include "tables/csv_rows.h"
#include "tables/json_rows.h"
#include "tables/limits.h"
#include "tables/parquet_rows.h"
#include "text/strip.h"

namespace microdit::tables {
TableCounts build_table(const std::filesystem::path& path, const TableSpec& spec, const NextInput& next,
                        const core::StopFlag& stop, const BuildOptions& options) {
  TableBuilder builder(path, spec, stop, options);
  const RowSink sink = [&](std::span<const Value> row) { builder.add(row); };
  while (const std::optional<TableInput> input = next()) {
    builder.begin(input->origin);
    const RowRequest request{input->origin, builder.source_columns(),
                             [&](const std::string& why) { builder.count_damaged(why); }};
    if (spec.kind == "json") {
      read_json_rows(input->bytes, spec.rows, request, sink, stop);
    } else if (spec.kind == "csv") {
      read_csv_rows(input->bytes, csv_rules(spec.separator, spec.quotes), request, sink, stop);
    } else {
      core::check(spec.kind == "parquet", "a table of kind '{}' is not read so", spec.kind);
      read_parquet_rows(input->file, request, sink, stop);
    }
  }
  return builder.finish();
}

TableCounts build_table(const std::filesystem::path& path, const TableSpec& spec, const TableInput& input,
                        const core::StopFlag& stop, const BuildOptions& options) {
  std::optional<TableInput> only = input;
  return build_table(
      path, spec, [&] { return std::exchange(only, std::nullopt); }, stop, options);
}

TextTable::TextTable(const std::filesystem::path& path, const TableSpec& spec, const core::StopFlag& stop,
                     const BuildOptions& options)
    : builder_(path, spec, stop, options) {}

void TextTable::add(std::string_view member, std::string_view bytes) {
  const PathParts parts = path_parts(member);
  const bool damaged = bytes.size() > limits::kRowBytes || core::first_invalid_utf8(bytes).has_value();
  const std::string_view text = damaged ? "" : text::strip(bytes);
  Row row;
  for (const std::string& column : builder_.source_columns()) {
    const std::string_view cell = column == "path"       ? parts.path
                                  : column == "dir"      ? parts.dir
                                  : column == "basename" ? parts.basename
                                  : column == "stem"     ? parts.stem
                                                         : text;
    const bool is_there = !cell.empty() || (column == "text" && !damaged);  // an empty text is one
    row.emplace_back(is_there ? Value(std::string(cell)) : Value());
  }
  if (damaged) builder_.count_damaged(member);
  builder_.add(row);
}

}  // namespace microdit::tables

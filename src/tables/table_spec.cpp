// The keys of a table, and what must hold between them.
#include "tables/table_spec.h"

#include <fmt/ranges.h>

#include <set>

#include "core/error.h"
#include "tables/key_template.h"
#include "tables/limits.h"

namespace microdit::tables {
namespace {

constexpr const char* kTextColumns[] = {"path", "dir", "basename", "stem", "text"};

template <class Check>
void judged(core::Fields& f, const char* setting, Check check) {
  try {
    check();
  } catch (const core::UserError& wrong) {
    f.error(setting, wrong.what());
  }
}

}  // namespace

void TableSpec::fields(core::Fields& f) {
  f.field("kind", kind,
          {.required = true,
           .choices = {"json", "csv", "parquet", "texts"},
           .help = "texts: files of an archive, one text each"});
  f.field("file", files,
          {.required = true,
           .help = "the file, as `source` names it; a table in parts: a pattern such as "
                   "\"meta/part-*.parquet\", or a list"});
  f.field("member", member,
          {.help = "the file's path within that archive, or a pattern: then all that match are parts"});
  f.field(
      "rows", rows,
      {.help = "json: lines (one object per line), . (the document is a list) or where the list is: a/b"});
  f.field("separator", separator, {.help = "csv: one character, or tab"});
  f.field("quotes", quotes,
          {.help = "csv: fields may stand in double quotes (RFC 4180); false: a quote is text"});
  f.field("key", key,
          {.help = "a row's key from its columns: {id:012}.jpg, part-{part:06}/{name}, {img_path|relative}"});
  f.field(
      "join", join,
      {.help = "a picture's key from its path: {path}, {dir}, {parent} and {top} (its last folder and its "
               "first), {basename}, {stem}, {root} (up to the first dot), {archive}"});
  f.field("columns", columns,
          {.help = "columns to keep, name: column of the row (json: a/b/0 within objects and lists)"});
  f.field("repeated", repeated, {.choices = {"first", "all"}, .help = "which rows of one key are kept"});
  if (!f.reading()) return;
  if (kind == "texts" && !f.given("key")) key = "{stem}";
  if (kind == "texts" && !f.given("join")) join = "{stem}";
  const TableSpec plain;  // what is printed back has all keys
  if (kind != "json" && rows != plain.rows) f.error("rows", "only kind: json has it");
  if (kind != "csv" && separator != plain.separator) f.error("separator", "only kind: csv has it");
  if (kind != "csv" && quotes != plain.quotes) f.error("quotes", "only kind: csv has it");
  if (kind == "parquet" && !member.empty())
    f.error("member", "a Parquet file is read in place, not out of an archive");
  if (separator.size() != 1 && separator != "tab") f.error("separator", "must be one character, or tab");
  if (separator == "\"" || separator == "\n" || separator == "\r")
    f.error("separator", "a quote or a line's end separates nothing");
  if (f.given("file") && files.empty()) f.error("file", "names no file");
  if (columns.empty()) f.error("columns", "names no column: what would a picture get from this table?");
  if (columns.size() > limits::kColumns) f.error("columns", fmt::format("more than {}", limits::kColumns));
  judged(f, "key", [&] { KeyTemplate(key, "key"); });
  judged(f, "join", [&] { PathTemplate(join, "join"); });
  if (kind != "texts") return;
  const std::set<std::string> known(std::begin(kTextColumns), std::end(kTextColumns));
  for (const auto& [name, column] : columns)
    if (!known.contains(column))
      f.error("columns", fmt::format("'{}': a text has text, path, dir, basename and stem", column));
  judged(f, "key", [&] {
    const KeyTemplate used(key, "key");
    for (const std::string& name : used.names())
      if (!known.contains(name))
        core::user_error("'{}': a text has text, path, dir, basename and stem", name);
  });
}

std::vector<std::string> TableSpec::source_columns() const {
  std::set<std::string> all;
  for (const auto& [name, column] : columns) all.insert(column);
  const KeyTemplate used(key, place("key"));
  all.insert(used.names().begin(), used.names().end());
  return {all.begin(), all.end()};
}

std::string TableSpec::name() const {
  return fmt::format("{}{}", fmt::join(files, ", "), member.empty() ? "" : ":" + member);
}

std::string TableSpec::place(std::string_view setting) const {
  return fmt::format("`{}` of the table of {}", setting, name());
}

}  // namespace microdit::tables

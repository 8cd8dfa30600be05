// A name under raw/ tells most; only what a pattern may mean is asked for its path.
#include "ingest/table_files.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "ingest/glob.h"
#include "ingest/raw_name.h"
#include "ingest/sources.h"

namespace microdit::ingest {
namespace {

constexpr std::pair<std::string_view, const char*> kEndings[] = {
    {".tar.gz", "tgz"}, {".tgz", "tgz"}, {".tar", "tar"}, {".zip", "zip"}, {".gz", "gz"}};
constexpr std::size_t kNamed = 5;           // of files that are there
constexpr std::size_t kLongestEnding = 10;  // that no raw name cuts

/// What stays of a path's end in its raw name: ".parquet" of "meta/part-*.parquet".
std::string plain_ending(const std::string& pattern) {
  const std::size_t dot = pattern.find_last_of("*?[]/.");
  if (dot == pattern.npos || pattern[dot] != '.') return "";
  const std::string ending = pattern.substr(dot);
  return ending.size() <= kLongestEnding && raw_name("x" + ending) == "x" + ending ? ending : "";
}

}  // namespace

void check_table_files(const CatalogueEntry& entry) {
  for (std::size_t i = 0; i < entry.tables.size(); ++i) try {
      const TableFiles files(entry.tables[i]);
    } catch (const core::UserError& wrong) {
      core::user_error("tables.{}.file: {}", i, wrong.what());
    }
}

TableFiles::TableFiles(const TableSection& table) {
  for (const std::string& written : table.files)
    for (const std::string& text : expand_ranges(written))
      patterns_.push_back({text, is_glob(text) ? "" : raw_name(text), plain_ending(text)});
}

bool TableFiles::Pattern::means(const std::string& file, const std::function<std::string()>& path) const {
  if (!name.empty()) return file == name;
  return file.ends_with(ending) && matches(text, path());
}

bool TableFiles::has(const std::string& name, const std::function<std::string()>& path) const {
  return std::ranges::any_of(patterns_, [&](const Pattern& pattern) { return pattern.means(name, path); });
}

std::vector<TableFiles::Part> TableFiles::choose(const store::Manifest& raw, const RawPaths& paths) const {
  std::vector<Part> parts;
  const std::vector<store::ShardEntry> files = raw.shards();
  for (const Pattern& pattern : patterns_) {
    const std::size_t before = parts.size();
    for (const store::ShardEntry& file : files) {
      const auto path = [&] { return paths.of(file.file); };
      if (pattern.means(file.file, path)) parts.push_back({path(), file});
    }
    if (parts.size() == before) nothing(pattern, raw, paths);
    // What a pattern means is in the order of its paths; what is written one by one stays in the order it is written in.
    std::ranges::sort(parts.begin() + static_cast<std::ptrdiff_t>(before), parts.end(), {}, &Part::path);
  }
  std::set<std::string> seen;
  std::erase_if(parts, [&](const Part& part) { return !seen.insert(part.path).second; });
  return parts;
}

void TableFiles::nothing(const Pattern& pattern, const store::Manifest& raw, const RawPaths& paths) const {
  std::vector<std::string> alike, there;
  for (const store::ShardEntry& file : raw.shards()) {
    std::vector<std::string>& names = file.file.ends_with(pattern.ending) ? alike : there;
    if (names.size() < kNamed) names.push_back(paths.of(file.file));
  }
  core::user_error("tables: file: {}: no such file in {}, which has {}, ...; `source` must name it, too",
                   pattern.text, raw.folder.string(), fmt::join(alike.empty() ? there : alike, ", "));
}

std::vector<TableFiles> table_files(const CatalogueEntry& entry) {
  return {entry.tables.begin(), entry.tables.end()};
}

bool is_table_file(const std::vector<TableFiles>& tables, const std::string& name,
                   const std::function<std::string()>& path) {
  return std::ranges::any_of(tables, [&](const TableFiles& table) { return table.has(name, path); });
}

std::string table_archive(std::string_view name) {
  const auto found =
      std::ranges::find_if(kEndings, [&](const auto& known) { return name.ends_with(known.first); });
  return found == std::end(kEndings) ? "none" : found->second;
}

std::string archive_of(const CatalogueEntry& entry, const std::string& name, const std::string& path) {
  return is_table_file(table_files(entry), name, [&] { return path; }) ? table_archive(name) : entry.archive;
}

std::string_view without_ending(std::string_view name) {
  for (const auto& [ending, kind] : kEndings)
    if (name.ends_with(ending)) return name.substr(0, name.size() - ending.size());
  return name;
}

}  // namespace microdit::ingest

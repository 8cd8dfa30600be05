// Item names and inputs are functions of the raw manifests alone.
#include "ingest/clean_items.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "core/error.h"
#include "core/hash.h"
#include "core/shell_line.h"
#include "ingest/archives.h"
#include "ingest/labelled.h"
#include "ingest/raw_paths.h"
#include "ingest/records.h"
#include "ingest/table_files.h"

namespace microdit::ingest {
namespace {

std::string stem_of(const std::string& file) {
  for (const std::string_view ending : {".tar.gz", ".tar", ".tgz", ".zip"}) {
    if (file.size() > ending.size() && file.ends_with(ending))
      return file.substr(0, file.size() - ending.size());
  }
  return file;
}

/// A file of pictures with that of their labels; files of labels alone are no items.
void add_pair(const store::ShardEntry& pictures, const store::Manifest& raw, std::vector<CleanItem>& items) {
  const std::string labels = idx_labels_of(pictures.file);
  if (labels.empty()) return;
  const std::vector<store::ShardEntry> files = raw.shards();
  const auto found = std::ranges::find(files, labels, &store::ShardEntry::file);
  if (found == files.end())
    core::user_error("{}: {} is not there, which holds the labels of {}", raw.folder.string(), labels,
                     pictures.file);
  const std::string name =
      pictures.file.ends_with(".gz") ? pictures.file.substr(0, pictures.file.size() - 3) : pictures.file;
  items.push_back({{name, {{pictures.file, pictures.sha256}, {labels, found->sha256}}}, {pictures, *found}});
}

/// Asks whether a raw file is a table's.
class TableFileTest {
 public:
  explicit TableFileTest(const CatalogueEntry& entry) : tables_(table_files(entry)) {
    if (!tables_.empty()) paths_ = RawPaths(entry);
  }
  bool operator()(const std::string& file) const {
    return is_table_file(tables_, file, [&] { return paths_.of(file); });
  }

 private:
  std::vector<TableFiles> tables_;
  RawPaths paths_;
};

std::vector<CleanItem> archives(const CatalogueEntry& entry, const store::Manifest& raw) {
  const TableFileTest is_table_file(entry);
  std::vector<CleanItem> items;
  std::set<std::string> names;
  for (const store::ShardEntry& file : raw.shards()) {
    if (is_table_file(file.file)) continue;
    if (entry.record.kind == "idx") {
      add_pair(file, raw, items);
      continue;
    }
    const std::string stem = stem_of(file.file);
    // a.tar beside a.zip; "a.part.json" and "a.failed.json" are no records of "a.part" and "a.failed".
    const bool is_taken = stem.ends_with(".part") || stem.ends_with(".failed") || !names.insert(stem).second;
    const std::string name = is_taken ? file.file : stem;
    items.push_back({{name, {{file.file, file.sha256}}}, {file}});
  }
  return items;
}

/// Of each file what a cut between items must not divide: its stem where a file is named like that, since records of that
/// stem may lie between each other; else the key of its record. One that nobody asked for goes with its neighbours.
std::vector<std::string> keys_of(const std::vector<store::ShardEntry>& files,
                                 const std::vector<std::string>& wanted) {
  const auto stem = [&](std::size_t i) {
    return std::string_view(files[i].file).substr(0, files[i].file.find('.'));
  };
  std::vector<std::string> keys;
  for (std::size_t begin = 0, end = 0; begin < files.size(); begin = end) {
    bool plain = false;  // a file is named like the stem
    for (; end < files.size() && stem(end) == stem(begin); ++end) {
      const auto parts = name_parts(files[end].file, wanted);
      plain |= parts && !parts->dotted();
    }
    std::string key(stem(begin));
    for (std::size_t i = begin; i < end; ++i) {
      const auto parts = name_parts(files[i].file, wanted);
      if (parts && !plain) key = parts->key;
      keys.push_back(key);
    }
  }
  return keys;
}

/// Of many files: how many, from which to which, and the hash of their list.
core::Json inputs_of(const std::vector<store::ShardEntry>& files) {
  core::Sha256 list;
  for (const store::ShardEntry& file : files) {
    const std::string line = fmt::format("{} {}\n", file.file, file.sha256);
    list.update(std::as_bytes(std::span(line)));
  }
  return {{"files", files.size()},
          {"first", files.front().file},
          {"last", files.back().file},
          {"sha256", list.hex_digest()}};
}

/// The files that are new in one generation of the raw folder, cut between records.
void add_ranges(const CatalogueEntry& entry, const std::vector<store::ShardEntry>& files,
                std::vector<CleanItem>& items) {
  std::int64_t records = 0;
  std::vector<store::ShardEntry> range;
  const auto close = [&] {
    if (range.empty()) return;
    items.push_back({{fmt::format("files-{:05}", items.size()), inputs_of(range)}, range});
    range.clear();
    records = 0;
  };
  const std::vector<std::string> keys = keys_of(files, wanted_extensions(entry));
  for (std::size_t i = 0; i < files.size(); ++i) {
    const bool another = range.empty() || keys[i - 1] != keys[i];
    if (another && records == entry.shard_records) close();
    records += another;
    range.push_back(files[i]);
  }
  close();
}

/// Files that came later and belong to a record of an item that was cut before: the two would never meet. `stems`: of all files so far,
/// each with one of them; grows.
void refuse_late_halves(const CatalogueEntry& entry, const std::vector<store::ShardEntry>& fresh,
                        std::map<std::string, std::string>& stems) {
  if (record_endings(entry).alone) return;
  const std::vector<std::string> wanted = wanted_extensions(entry);
  std::map<std::string, std::string> own;
  for (const store::ShardEntry& file : fresh) {
    const auto parts = name_parts(file.file, wanted);
    if (!parts) continue;
    const std::string key(parts->key);
    if (const auto earlier = stems.find(key); earlier != stems.end())
      core::user_error(
          "{}: it belongs with {}, which came to the folder before it and was read without it: {} - then "
          "download and "
          "clean again",
          file.file, earlier->second,
          core::shell_line({"rm", "-r", entry.samples_folder().string(), entry.raw_folder().string()}));
    own.emplace(key, file.file);
  }
  stems.merge(own);
}

std::vector<CleanItem> loose_files(const CatalogueEntry& entry, const store::Manifest& raw) {
  const TableFileTest is_table_file(entry);
  std::vector<CleanItem> items;
  std::set<std::string> known;
  std::map<std::string, std::string> stems;
  std::map<std::string, store::ShardEntry> now;
  for (const store::ShardEntry& file : raw.shards()) now[file.file] = file;
  for (std::int64_t generation = 1; generation <= raw.generation; ++generation) {
    const store::Manifest manifest =
        generation == raw.generation ? raw : store::Manifest::read(raw.folder, generation);
    std::vector<store::ShardEntry> fresh;
    for (const store::ShardEntry& file : manifest.shards()) {
      if (!known.insert(file.file).second || is_table_file(file.file)) continue;
      const auto current = now.find(file.file);
      if (current != now.end()) fresh.push_back(current->second);
    }
    refuse_late_halves(entry, fresh, stems);
    add_ranges(entry, fresh, items);
  }
  return items;
}

}  // namespace

std::vector<CleanItem> list_clean_items(const CatalogueEntry& entry, const store::Manifest& raw) {
  return entry.archive == "none" && entry.record.kind != "idx" ? loose_files(entry, raw)
                                                               : archives(entry, raw);
}

}  // namespace microdit::ingest

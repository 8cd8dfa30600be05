// Raw files -> tables, and rows for pictures.
#include "ingest/picture_tables.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <sstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "ingest/glob.h"
#include "ingest/hub.h"
#include "ingest/item_records.h"
#include "ingest/raw_name.h"
#include "ingest/table_bytes.h"
#include "tables/build_table.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;
constexpr int kRules = 2;  // rises when the same file becomes other rows
constexpr std::pair<std::string_view, const char*> kEndings[] = {
    {".tar.gz", "tgz"}, {".tgz", "tgz"}, {".tar", "tar"}, {".zip", "zip"}, {".gz", "gz"}};

std::string_view without_ending(std::string_view name) {
  for (const auto& [ending, kind] : kEndings)
    if (name.ends_with(ending)) return name.substr(0, name.size() - ending.size());
  return name;
}

store::ShardEntry raw_file_of(const TableSection& table, const store::Manifest& raw) {
  const std::string name = raw_name(table.file);
  const std::vector<store::ShardEntry> files = raw.shards();
  const auto found = std::ranges::find(files, name, &store::ShardEntry::file);
  if (found == files.end())
    core::user_error("tables: {}: no such file in {}; `source` must name it, too", table.file,
                     raw.folder.string());
  return *found;
}

/// What the table's bytes depend on.
std::string made_from(const TableSection& table, const store::ShardEntry& file) {
  core::Json spec = core::to_json(table);
  for (const char* key : {"join", "of", "file"}) spec.erase(key);  // which pictures ask, and where it lies
  return core::Json({{"rules", kRules}, {"spec", std::move(spec)}, {"sha256", file.sha256}}).dump();
}

fs::path place_of(const CatalogueEntry& entry, const std::string& from) {
  return entry.raw_folder() / "tables" /
         (core::hex(core::xxh3_64(std::as_bytes(std::span(from)))) + ".table");
}

/// Held while one process makes a table, where the file system has locks; the others wait.
class MakerLock {
 public:
  MakerLock(const fs::path& path, const core::StopFlag& stop)
      : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (fd_ < 0) core::errno_error(errno, "{}: cannot be created", path.string());
    while (::flock(fd_, LOCK_EX | LOCK_NB) != 0 && (errno == EWOULDBLOCK || errno == EINTR)) {
      if (stop.requested()) {
        ::close(fd_);
        throw core::Stopped();
      }
      ::usleep(kPoll_us);
    }
  }
  ~MakerLock() { ::close(fd_); }
  MakerLock(const MakerLock&) = delete;

 private:
  static constexpr useconds_t kPoll_us = 200'000;
  int fd_;
};

tables::TableCounts build(const CatalogueEntry& entry, const TableSection& table, const fs::path& file,
                          const fs::path& place, const std::string& from, const core::StopFlag& stop) {
  const std::string name = file.filename().string(), archive = archive_of(entry, name);
  const tables::BuildOptions options{.made_from = from};
  if (table.kind == "texts") {
    tables::TextTable texts(place, table, stop, options);
    read_texts(file, archive, table.member, texts, stop);
    return texts.finish();
  }
  if (table.kind == "parquet")
    return tables::build_table(place, table, {.origin = name, .bytes = {}, .file = file}, stop, options);
  TableBytes bytes(file, archive, table.member, stop);
  return tables::build_table(place, table,
                             {.origin = name + (table.member.empty() ? "" : ":" + table.member),
                              .bytes = bytes.source(),
                              .file = {}},
                             stop, options);
}

bool is_there(const fs::path& place, const std::string& from) {
  std::error_code missing;
  return fs::exists(place, missing) && tables::TableFile(place).made_from() == from;
}

void make_table(const CatalogueEntry& entry, const TableSection& table, const store::Manifest& raw,
                const core::StopFlag& stop) {
  const store::ShardEntry file = raw_file_of(table, raw);
  const std::string from = made_from(table, file);
  const fs::path place = place_of(entry, from);
  if (is_there(place, from)) return;
  fs::create_directories(place.parent_path());
  const MakerLock lock(fs::path(place) += ".lock", stop);
  if (is_there(place, from)) return;
  core::log_info("clean: making the table of {}", table.file);
  check_raw(entry, file, stop);
  const tables::TableCounts counts = build(entry, table, entry.raw_folder() / file.file, place, from, stop);
  core::log_info(
      "clean: the table of {}: {} rows, {} keys{}{}{}", table.file, counts.rows, counts.keys,
      counts.repeated > 0 ? fmt::format("; {} rows of an earlier row's key", counts.repeated) : "",
      counts.without_key > 0
          ? fmt::format("; {} rows without a key (e.g. {})", counts.without_key, counts.without_key_example)
          : "",
      counts.damaged > 0 ? fmt::format("; {} damaged (e.g. {})", counts.damaged, counts.damaged_example)
                         : "");
}

}  // namespace

bool is_table_file(const CatalogueEntry& entry, const std::string& name) {
  return std::ranges::any_of(entry.tables, [&](const TableSection& t) { return raw_name(t.file) == name; });
}

std::string archive_of(const CatalogueEntry& entry, const std::string& name) {
  if (!is_table_file(entry, name)) return entry.archive;
  const auto found =
      std::ranges::find_if(kEndings, [&](const auto& known) { return name.ends_with(known.first); });
  return found == std::end(kEndings) ? "none" : found->second;
}

void make_tables(const CatalogueEntry& entry, const store::Manifest& raw, const core::StopFlag& stop) {
  for (const TableSection& table : entry.tables) make_table(entry, table, raw, stop);
}

bool tables_are_there(const CatalogueEntry& entry, const store::Manifest& raw) {
  return std::ranges::all_of(entry.tables, [&](const TableSection& table) {
    const std::string from = made_from(table, raw_file_of(table, raw));
    return is_there(place_of(entry, from), from);
  });
}

PictureTables::PictureTables(const CatalogueEntry& entry, const store::Manifest& raw) {
  if (!entry.tables.empty() || !entry.splits.held_out_files.empty()) find_paths(entry);
  for (const TableSection& table : entry.tables) {
    const store::ShardEntry file = raw_file_of(table, raw);
    const std::string from = made_from(table, file);
    tables_.push_back({&table, tables::PathTemplate(table.join, "tables.join"),
                       std::make_shared<tables::TableFile>(place_of(entry, from))});
    core::Json asks = core::parse_json(from, "table");
    asks["join"] = table.join;
    asks["of"] = table.of;
    identity_.push_back(std::move(asks));
  }
}

void PictureTables::find_paths(const CatalogueEntry& entry) {
  if (!entry.source.folder.empty()) {
    folder_ = fs::absolute(entry.source.folder).lexically_normal();
    links_ = entry.raw_folder();
  }
  if (const std::string& list = entry.source.list_file; !list.empty() && fs::exists(list)) {
    std::istringstream lines(core::read_text(list));
    for (std::string line; std::getline(lines, line);)
      if (const std::size_t tab = line.find('\t'); tab != line.npos)
        paths_[raw_name(line.substr(0, tab))] = line.substr(0, tab);
  }
  const fs::path pin = entry.raw_folder() / kPinFile;
  if (!entry.source.hub.empty() && fs::exists(pin))
    for (const HubFile& file : pinned_files(entry.source, core::read_text(pin)))
      paths_[raw_name(file.path)] = file.path;
}

std::vector<TableCells> PictureTables::rows(const std::string& path, const std::string& member) const {
  const std::string_view archive = without_ending(tables::path_parts(path).basename);
  for (const Open& table : tables_) {
    if (!table.section->of.empty() && !matches(table.section->of, path)) continue;
    const std::string key = table.join.key(member, archive);
    if (key.empty()) continue;
    std::vector<TableCells> found;
    for (const tables::Row& row : table.file->find(key)) {
      TableCells& cells = found.emplace_back();
      for (std::size_t i = 0; i < row.size(); ++i) cells[table.file->columns()[i]] = row[i];
    }
    if (!found.empty()) return found;
  }
  return {};
}

std::string PictureTables::path_of(const std::string& file) const {
  if (!folder_.empty()) {  // raw/ has links into it
    std::error_code none;
    const fs::path lies = fs::read_symlink(links_ / file, none);
    const std::string path = lies.lexically_relative(folder_).string();
    if (!none && !path.empty() && !path.starts_with("..")) return path;
  }
  const auto known = paths_.find(file);
  return known == paths_.end() ? file : known->second;
}

core::Json PictureTables::identity() const {
  return identity_;
}

}  // namespace microdit::ingest

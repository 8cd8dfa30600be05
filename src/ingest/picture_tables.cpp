// Raw files -> tables, and rows for pictures.
#include "ingest/picture_tables.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/utf8.h"
#include "ingest/glob.h"
#include "ingest/item_records.h"
#include "ingest/table_bytes.h"
#include "ingest/table_files.h"
#include "tables/build_table.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;
constexpr int kRules = 2;  // rises when the same file becomes other rows

using Parts = std::vector<TableFiles::Part>;

Parts parts_of(const TableSection& table, const store::Manifest& raw, const RawPaths& paths) {
  return TableFiles(table).choose(raw, paths);
}

/// What the table's bytes depend on.
core::Json made_from(const TableSection& table, const Parts& parts) {
  core::Json spec = core::to_json(table);
  for (const char* key : {"join", "of", "file"}) spec.erase(key);  // which pictures ask, and where it lies
  core::Json from = {{"rules", kRules}, {"spec", std::move(spec)}};
  if (parts.size() == 1) {
    from["sha256"] = parts[0].file.sha256;
    return from;
  }
  for (const TableFiles::Part& part : parts)
    from["parts"].push_back({part.path, part.file.bytes, part.file.sha256});
  return from;
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

/// The table's parts one behind the other: its files, of archives their members.
class PartInputs {
 public:
  PartInputs(const CatalogueEntry& entry, const TableSection& table, const Parts& parts,
             const core::StopFlag& stop)
      : entry_(entry), table_(table), parts_(parts), stop_(stop) {}

  std::optional<tables::TableInput> next() {
    for (;;) {
      if (const auto member = bytes_ ? bytes_->next() : std::nullopt)
        return tables::TableInput{
            .origin = name_ + (member->empty() ? "" : ":" + *member), .bytes = bytes_->source(), .file = {}};
      bytes_.reset();
      if (at_ == parts_.size()) return std::nullopt;
      const auto& [path, raw] = parts_[at_++];
      name_ = path;
      const fs::path file = entry_.raw_folder() / raw.file;
      if (table_.kind == "parquet") return tables::TableInput{.origin = name_, .bytes = {}, .file = file};
      bytes_ = std::make_unique<TableBytes>(file, table_archive(raw.file), table_.member, stop_);
    }
  }

 private:
  const CatalogueEntry& entry_;
  const TableSection& table_;
  const Parts& parts_;
  const core::StopFlag& stop_;
  std::size_t at_ = 0;
  std::string name_;  ///< for messages: the path in the source
  std::unique_ptr<TableBytes> bytes_;
};

tables::TableCounts build(const CatalogueEntry& entry, const TableSection& table, const Parts& parts,
                          const fs::path& place, const std::string& from, const core::StopFlag& stop) {
  tables::BuildOptions options{.made_from = from};
  for (const std::string& column : entry.kept_columns()) options.numbers.insert(column);
  if (table.kind == "texts") {
    tables::TextTable texts(place, table, stop, options);
    for (const auto& [path, file] : parts) {
      texts.begin(path);
      read_texts(entry.raw_folder() / file.file, table_archive(file.file), table.member, texts, stop);
    }
    return texts.finish();
  }
  PartInputs inputs(entry, table, parts, stop);
  return tables::build_table(
      place, table, [&] { return inputs.next(); }, stop, options);
}

bool is_there(const fs::path& place, const std::string& from) {
  std::error_code missing;
  return fs::exists(place, missing) && tables::TableFile(place).made_from() == from;
}

void make_table(const CatalogueEntry& entry, const TableSection& table, const Parts& parts,
                const core::StopFlag& stop) {
  const std::string from = made_from(table, parts).dump();
  const fs::path place = place_of(entry, from);
  if (is_there(place, from)) return;
  fs::create_directories(place.parent_path());
  const MakerLock lock(fs::path(place) += ".lock", stop);
  if (is_there(place, from)) return;
  const std::string name = table.name() + (parts.size() > 1 ? fmt::format(" ({} files)", parts.size()) : "");
  core::log_info("clean: making the table of {}", name);
  for (const auto& [path, file] : parts) check_raw(entry, file, stop);
  const tables::TableCounts counts = build(entry, table, parts, place, from, stop);
  core::log_info(
      "clean: the table of {}: {} rows, {} keys{}{}{}", name, counts.rows, counts.keys,
      counts.repeated > 0 ? fmt::format("; {} rows of an earlier row's key", counts.repeated) : "",
      counts.without_key > 0
          ? fmt::format("; {} rows without a key (e.g. {})", counts.without_key, counts.without_key_example)
          : "",
      counts.damaged > 0 ? fmt::format("; {} damaged (e.g. {})", counts.damaged, counts.damaged_example)
                         : "");
}

}  // namespace

void make_tables(const CatalogueEntry& entry, const store::Manifest& raw, const core::StopFlag& stop) {
  const RawPaths paths(entry);
  for (const TableSection& table : entry.tables) make_table(entry, table, parts_of(table, raw, paths), stop);
}

bool tables_are_there(const CatalogueEntry& entry, const store::Manifest& raw) {
  const RawPaths paths(entry);
  return std::ranges::all_of(entry.tables, [&](const TableSection& table) {
    const std::string from = made_from(table, parts_of(table, raw, paths)).dump();
    return is_there(place_of(entry, from), from);
  });
}

PictureTables::PictureTables(const CatalogueEntry& entry, const store::Manifest& raw) {
  if (!entry.tables.empty() || !entry.splits.held_out_files.empty() || entry.has_loose_patterns() ||
      !entry.record.from.empty())
    paths_ = RawPaths(entry);
  for (const TableSection& table : entry.tables) {
    core::Json from = made_from(table, parts_of(table, raw, paths_));
    tables_.push_back({&table, tables::PathTemplate(table.join, "tables.join"),
                       std::make_shared<tables::TableFile>(place_of(entry, from.dump()))});
    if (from.contains("parts")) {  // every item's record says this: their names are many
      const std::string parts = from["parts"].dump();
      from["sha256"] = core::sha256(std::as_bytes(std::span(parts)));
      from["parts"] = from["parts"].size();
    }
    from["join"] = table.join;
    from["of"] = table.of;
    identity_.push_back(std::move(from));
  }
}

std::vector<TableCells> PictureTables::rows(const std::string& path, const std::string& member,
                                            std::vector<std::size_t>& without) const {
  const std::string_view archive = without_ending(tables::path_parts(path).basename);
  std::vector<TableCells> found;
  without.clear();
  for (std::size_t number = 0; number < tables_.size(); ++number) {
    const Open& table = tables_[number];
    const std::vector<std::string>& columns = table.file->columns();
    const auto is_there = [&](const std::string& column) { return found.front().contains(column); };
    if (!found.empty() && std::ranges::all_of(columns, is_there)) continue;
    if (!table.section->of.empty() && !matches(table.section->of, path)) continue;
    const std::string key = table.join.key(member, archive);
    const std::vector<tables::Row> rows = key.empty() ? std::vector<tables::Row>() : table.file->find(key);
    table.was_asked = true;
    if (rows.empty()) {
      if (looked_for_.empty()) looked_for_ = key;
      without.push_back(number);
      continue;
    }
    table.had_rows = true;
    if (found.empty()) found.emplace_back();
    std::vector<TableCells> joined;
    for (const TableCells& before : found) {
      for (const tables::Row& row : rows) {
        TableCells& cells = joined.emplace_back(before);
        for (std::size_t i = 0; i < row.size(); ++i) cells.emplace(columns[i], row[i]);  // the first stays
      }
    }
    found = std::move(joined);
  }
  std::erase_if(without, [&](std::size_t number) {
    return found.empty() ||
           std::ranges::all_of(tables_[number].file->columns(),
                               [&](const std::string& column) { return found.front().contains(column); });
  });
  return found;
}

std::string PictureTables::Open::name() const {
  return fmt::format("{}, join {}", fmt::join(section->files, " "), section->join);
}

std::string PictureTables::damaged_rows() const {
  std::string text;
  for (const Open& table : tables_)
    if (const tables::TableCounts& counts = table.file->counts(); counts.damaged > 0)
      text +=
          fmt::format("{}{} {} of {} rows", text.empty() ? "" : ", ", table.section->name(), counts.damaged,
                      counts.rows + (table.section->kind == "texts" ? 0 : counts.damaged));
  return text;
}

core::Json PictureTables::use() const {
  if (tables_.empty()) return core::Json::object();
  core::Json idle = core::Json::array();
  for (const Open& table : tables_)
    if (table.was_asked && !table.had_rows) idle.push_back(table.name());
  return {{"tables", {{"idle", std::move(idle)}, {"example", core::with_valid_utf8(looked_for_)}}}};
}

void PictureTables::forget_use() const {
  looked_for_.clear();
  for (const Open& table : tables_) table.was_asked = table.had_rows = false;
}

core::Json PictureTables::identity() const {
  return identity_;
}

}  // namespace microdit::ingest

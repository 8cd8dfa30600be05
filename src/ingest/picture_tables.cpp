// Raw files -> tables, and rows for pictures.
#include "ingest/picture_tables.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "ingest/file_pattern.h"
#include "ingest/raw_name.h"
#include "ingest/table_bytes.h"
#include "tables/csv_rows.h"
#include "tables/json_rows.h"
#include "tables/parquet_rows.h"
#include "tables/table_builder.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

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
  return core::Json({{"spec", std::move(spec)}, {"sha256", file.sha256}}).dump();
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

void read_rows(const CatalogueEntry& entry, const TableSection& table, const fs::path& file,
               tables::TableBuilder& builder, const core::StopFlag& stop) {
  const tables::RowRequest request{file.filename().string() + (table.member.empty() ? "" : ":" + table.member),
                                   builder.source_columns()};
  const tables::RowSink sink = [&](std::span<const tables::Value> row) { builder.add(row); };
  const std::string archive = archive_of(entry, file.filename().string());
  if (table.kind == "parquet") return tables::read_parquet_rows(file, request, sink, stop);
  if (table.kind == "texts") return read_texts(file, archive, table, request, sink, stop);
  TableBytes bytes(file, archive, table.member, stop);
  if (table.kind == "json")
    tables::read_json_rows(bytes.source(), table.rows, request, sink, stop);
  else
    tables::read_csv_rows(bytes.source(), tables::csv_rules(table.separator, table.quotes), request, sink, stop);
  bytes.finish();
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
  tables::TableBuilder builder(place, table, stop, {.made_from = from});
  read_rows(entry, table, entry.raw_folder() / file.file, builder, stop);
  const tables::TableCounts counts = builder.finish();
  core::log_info("clean: the table of {}: {} rows, {} keys{}{}", table.file, counts.rows, counts.keys,
                 counts.repeated > 0 ? fmt::format("; {} rows of an earlier row's key", counts.repeated) : "",
                 counts.without_key > 0 ? fmt::format("; {} rows without a key (e.g. {})", counts.without_key,
                                                      counts.without_key_example)
                                        : "");
}

}  // namespace

bool is_table_file(const CatalogueEntry& entry, const std::string& name) {
  return std::ranges::any_of(entry.tables, [&](const TableSection& t) { return raw_name(t.file) == name; });
}

std::string archive_of(const CatalogueEntry& entry, const std::string& name) {
  if (!is_table_file(entry, name)) return entry.archive;
  for (const auto& [ending, kind] : {std::pair{".tar.gz", "tgz"}, {".tgz", "tgz"}, {".tar", "tar"}, {".zip", "zip"}})
    if (name.ends_with(ending)) return kind;
  return "none";
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

std::vector<TableCells> PictureTables::rows(const std::string& file, const std::string& member) const {
  for (const Open& table : tables_) {
    if (!table.section->of.empty() && !matches(table.section->of, file)) continue;
    const std::string key = table.join.key(member);
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

core::Json PictureTables::identity() const {
  return identity_;
}

}  // namespace microdit::ingest

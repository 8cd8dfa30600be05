// Raw files -> records: checked against what was downloaded, grouped or taken apart by the entry's kind of record.
#include "ingest/item_records.h"

#include <cerrno>
#include <cstdio>

#include "core/disk.h"
#include "core/error.h"
#include "core/hash.h"
#include "ingest/glob.h"
#include "ingest/idle_patterns.h"
#include "ingest/limits.h"
#include "ingest/parquet_records.h"
#include "ingest/table_files.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;
using core::Stopped;

std::vector<std::byte> read_bytes(const fs::path& path, std::uint64_t size) {
  std::vector<std::byte> bytes(size);
  errno = 0;
  std::FILE* in = std::fopen(path.c_str(), "rb");
  const std::size_t got = in ? std::fread(bytes.data(), 1, bytes.size(), in) : 0;
  const int error = errno;
  if (in) std::fclose(in);
  if (core::is_fault(error)) core::input_error(error, "{}: cannot be read", path.string());
  if (!in || got != bytes.size()) core::system_error("{}: cannot be read", path.string());
  return bytes;
}

/// The one command after which download fetches a raw file anew and clean takes what it gets.
std::string fetch_anew(const CatalogueEntry& entry, const std::string& file) {
  return fmt::format("when its source is mended: rm {} - then run download and clean again",
                     (entry.raw_folder() / "records" / (file + ".json")).string());
}

using TakeMember = std::function<void(Member&&)>;

/// The raw file `index` of the item; `passed_over`: members that did not even reach `take`.
void read_file(const CatalogueEntry& entry, const CleanItem& item, std::size_t index,
               const PictureTables& tables, const ArchiveRules& rules, const TakeMember& take,
               PassedOver& passed_over, const core::StopFlag& stop) {
  const store::ShardEntry& file = item.files[index];
  const auto number = static_cast<std::uint32_t>(index);
  const fs::path path = entry.raw_folder() / file.file;
  check_raw(entry, file, stop);
  if (entry.archive == "none") {
    Member member = loose_member(entry, file, tables);
    member.file = number;
    return take(std::move(member));
  }
  try {
    const auto numbered = [&](Member&& member) {
      member.file = number;
      take(std::move(member));
    };
    const ArchiveSummary summary = for_each_member(path, rules, numbered, &stop);
    if (summary.stopped) throw Stopped();
    passed_over.add(summary.passed_over, summary.example);
  } catch (const core::UserError& damaged) {
    core::user_error("{}; {}", damaged.what(), fetch_anew(entry, file.file));
  }
}

/// Records of what holds pixels, or pictures in a column, and classes or captions.
MemberNotes read_labelled(const CatalogueEntry& entry, const CleanItem& item, const PictureTables& tables,
                          const TakeRecord& take, const core::StopFlag& stop) {
  MemberNotes notes;
  UsedPatterns members(entry.record.members), held_out(entry.splits.held_out_members);
  const bool file_held = matches_any(entry.splits.held_out_files, tables.path_of(item.files[0].file));
  bool member_held = false;
  const TakeRecord marked = [&](RawRecord&& raw) {
    raw.file = item.files[0].file;
    raw.held_out = file_held || member_held;
    take(std::move(raw));
  };
  const auto damaged = [&](const std::exception& error) {
    core::user_error("{}; {}", error.what(), fetch_anew(entry, item.files[0].file));
  };
  if (entry.record.kind == "parquet") {
    check_raw(entry, item.files[0], stop);
    try {
      parquet_records(entry.raw_folder() / item.files[0].file, entry.record, marked, stop);
      return notes;
    } catch (const core::UserError& error) {
      damaged(error);
    }
  }
  const ArchiveRules rules{.kind = entry.archive};
  std::vector<Member> pair(item.files.size());
  for (std::size_t i = 0; i < item.files.size(); ++i) {
    const auto member_of = [&](Member&& member) {
      if (entry.record.kind == "idx") {
        pair[i] = std::move(member);
        return;
      }
      if (!members.empty() && !members.match(member.patterned()))
        return notes.passed_over.add(1, member.name);
      member_held = held_out.match(member.patterned());
      cifar_records(member, marked);
    };
    read_file(entry, item, i, tables, rules, member_of, notes.passed_over, stop);
  }
  if (entry.record.kind == "idx") {
    try {
      idx_records(pair.at(0), pair.at(1), limits::records_of(bytes_of_files(item)), marked);
    } catch (const core::UserError& error) {
      damaged(error);
    }
  }
  notes.patterns = IdlePatterns::of_item(members, held_out);
  return notes;
}

}  // namespace

std::uint64_t bytes_of_files(const CleanItem& item) {
  std::uint64_t bytes = 0;
  for (const store::ShardEntry& file : item.files) bytes += file.bytes;
  return bytes;
}

void check_raw(const CatalogueEntry& entry, const store::ShardEntry& file, const core::StopFlag& stop) {
  const fs::path path = entry.raw_folder() / file.file;
  const std::string removed = store::removed_on_purpose(entry.raw_folder(), file.file);
  const std::optional<std::uint64_t> bytes = core::input_bytes(path);
  if (!bytes && !removed.empty())
    core::user_error(
        "{}: was removed when its samples were made (keep_raw: false); rm {} - then run download again",
        path.string(), removed);
  if (!bytes) core::user_error("{}: is in the manifest but missing: run download again", path.string());
  const std::optional<std::string> sha256 =
      *bytes == file.bytes ? core::sha256_file(path, stop) : "of another length";
  if (!sha256) throw Stopped();
  if (*sha256 != file.sha256)
    core::user_error("{}: is not what was downloaded ({} bytes, SHA-256 {}; now {} bytes, SHA-256 {}); {}",
                     path.string(), file.bytes, file.sha256, *bytes, *sha256, fetch_anew(entry, file.file));
}

Member loose_member(const CatalogueEntry& entry, const store::ShardEntry& file, const PictureTables& tables) {
  Member member{.name = file.file, .bytes = {}, .skip = {}, .offset = 0, .path = tables.path_of(file.file)};
  if (file.bytes > limits::kRecordBytes)
    member.skip = "unsupported.oversize";
  else
    member.bytes = read_bytes(entry.raw_folder() / file.file, file.bytes);
  return member;
}

void with_rows(const CatalogueEntry& entry, const PictureTables& tables, const RawPlace& place,
               RawRecord&& raw, const TakeRecord& take) {
  raw.file = place.path;
  raw.archive = without_ending(tables::path_parts(place.path).basename);
  if (entry.tables.empty() || !raw.skip.empty()) return take(std::move(raw));
  const std::string key = raw.key;
  std::vector<TableCells> rows =
      tables.rows(place.path, key == place.file ? place.path : key, raw.without_row);
  if (rows.empty()) {
    raw.skip = "filtered.no_row";
    return take(std::move(raw));
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    RawRecord one = i + 1 < rows.size() ? raw : std::move(raw);
    one.cells = std::move(rows[i]);
    if (i > 0) {
      one.key += fmt::format("#{}", i + 1);
      one.group = key;
    }
    take(std::move(one));
  }
}

MemberNotes read_item(const CatalogueEntry& entry, const CleanItem& item, const PictureTables& tables,
                      const TakeRecord& take, const core::StopFlag& stop) {
  if (entry.record.is_labelled()) return read_labelled(entry, item, tables, take, stop);
  tables.forget_use();
  MemberNotes notes;
  UsedPatterns held_out(entry.splits.held_out_members);
  const ArchiveRules rules{
      .kind = entry.archive, .wanted = wanted_extensions(entry), .offsets = entry.images == "reference"};
  RawPlace place;  // of the file that the last record is from
  bool file_held = false;
  RecordGrouper grouper(record_endings(entry), [&](RawRecord&& raw) {
    const std::size_t file = raw.members.empty() ? 0 : raw.members.begin()->second.file;
    if (const std::string& name = item.files.at(file).file; name != place.file) {
      place = {name, tables.path_of(name)};
      file_held = matches_any(entry.splits.held_out_files, place.path);
    }
    raw.held_out = file_held;
    for (const auto& [extension, member] : raw.members)
      if (held_out.match(member.patterned())) raw.held_out = true;
    with_rows(entry, tables, place, std::move(raw), take);
  });
  const TakeMember add = [&](Member&& member) { grouper.add(std::move(member)); };
  for (std::size_t i = 0; i < item.files.size(); ++i)
    read_file(entry, item, i, tables, rules, add, notes.passed_over, stop);
  grouper.finish();
  notes.passed_over.add(grouper.passed_over().count, grouper.passed_over().example);
  notes.patterns = IdlePatterns::of_item(grouper.members(), held_out);
  notes.patterns.update(tables.use());
  return notes;
}

}  // namespace microdit::ingest

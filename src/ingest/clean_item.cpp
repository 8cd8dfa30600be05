// Records one after another: captions here, pictures in the pool, shards closed by count and by bytes.
#include "ingest/clean_item.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <deque>
#include <unordered_set>

#include "core/disk.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "ingest/archives.h"
#include "ingest/clean_parts.h"
#include "ingest/clean_rows.h"
#include "ingest/file_pattern.h"
#include "ingest/labelled.h"
#include "ingest/limits.h"
#include "ingest/records.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

constexpr auto kLookAtStop = std::chrono::milliseconds(100);

/// Ends the reading of an archive from inside.
using core::Stopped;

std::vector<std::string> names_of(const std::vector<store::ShardEntry>& files) {
  std::vector<std::string> names;
  for (const store::ShardEntry& file : files) names.push_back(file.file);
  return names;
}

class ItemCleaner {
 public:
  ItemCleaner(const CatalogueEntry& entry, const CleanItem& item, PicturePool& pool, Progress& progress,
              const core::StopFlag& stop)
      : entry_(entry),
        item_(item),
        pool_(pool),
        progress_(progress),
        stop_(stop),
        parts_(entry.samples_folder(), item.item),
        state_(parts_.read()),
        rows_(entry, names_of(item.files)) {
    first_ = state_.next;
    if (!state_.shards.empty())
      core::log_info("clean: {}: {} shards of an earlier life are kept, {} records are passed over",
                     item.item.name, state_.shards.size(), state_.next);
  }

  void add(RawRecord&& raw) {
    if (stop_.requested()) throw Stopped();
    const std::int64_t index = total_++;
    const bool fresh = seen_.insert(core::xxh3_64(std::as_bytes(std::span(raw.key)))).second;
    if (index < state_.next) return;
    progress_.add(1);
    Pending& pending = pending_.emplace_back();
    pending.index = index;
    if (fresh)
      pending.reason = read_record(std::move(raw), entry_, pending.kept.record, stop_);
    else
      pending.reason = "damaged.duplicate_key";
    if (pending.kept.record.key.empty()) pending.kept.record.key = raw.key;
    if (pending.reason.empty() && entry_.images == "reference" && pending.kept.record.image_offset < 0)
      pending.reason = "unsupported.compressed";  // its bytes lie nowhere as they are
    if (pending.reason.empty())
      pending.picture = pool_.check(pending.kept.record.image, entry_.filters.min_side);
    while (std::ssize(pending_) > pool_.most_pending()) settle_first();
  }

  /// The last shard and the record to commit.
  store::Record finish(const PassedOver& passed_over) {
    while (!pending_.empty()) settle_first();
    close(total_);
    if (!state_.skipped.empty())
      core::log_info("clean: {}: skipped {} of {} records: {}", item_.item.name, state_.skipped.total(),
                     total_, state_.skipped.text());
    return {item_.item.name,
            state_.shards,
            {{"records", total_},
             {"kept", state_.kept},
             {"skipped", state_.skipped.to_json()},
             {"lost_captions", state_.lost_captions.to_json()},
             {"passed_over", passed_over.to_json()},
             {"fingerprints", state_.fingerprints}}};
  }

 private:
  struct Pending {
    std::int64_t index = 0;
    std::string reason;
    KeptRecord kept;
    PictureFuture picture;
  };

  /// The oldest record finds its place; records do so in the order of the archive, whatever the workers' speed.
  void settle_first() {
    Pending& first = pending_.front();
    if (first.picture.valid()) {
      while (first.picture.wait_for(kLookAtStop) != std::future_status::ready)
        if (stop_.requested()) throw Stopped();
      const fs::path file = entry_.raw_folder() / item_.files.at(first.kept.record.image_file).file;
      const PictureResult picture =
          naming(file.string(), first.kept.record.key, [&] { return first.picture.get(); });
      first.reason = picture.reason;
      first.kept.width = picture.width;
      first.kept.height = picture.height;
    }
    if (stop_.requested()) throw Stopped();  // what a stopped worker says is no verdict
    const std::uint64_t bytes = first.reason.empty() ? first.kept.record.image.size() : 0;
    if (first.index - first_ >= entry_.shard_records ||
        rows_.payload() + bytes > static_cast<std::uint64_t>(entry_.shard_bytes))
      close(first.index);
    if (first.reason.empty())
      keep(std::move(first.kept));
    else
      state_.skipped.add(first.reason, first.kept.record.key);
    pending_.pop_front();
  }

  void keep(KeptRecord&& kept) {
    const std::vector<std::string> sources = entry_.caption_sources();
    for (std::size_t i = 0; i < sources.size(); ++i)
      if (const std::string& reason = kept.record.lost[i]; !reason.empty())
        state_.lost_captions.add(sources[i] + ": " + reason, kept.record.key);
    rows_.add(std::move(kept));
  }

  /// Records [first_, next) become a shard; where none of them was kept there is none.
  void close(std::int64_t next) {
    if (rows_.count() > 0) {
      const core::Json attributes = {{"item", item_.item.name}, {"first_record", first_}};
      std::optional<store::ShardEntry> made =
          rows_.write(parts_.shard(state_.shards.size()), attributes, stop_);
      if (!made) throw Stopped();
      state_.shards.push_back(std::move(*made));
      state_.fingerprints.push_back(core::hex(core::read_back([&] {
        return store::ShardReader(entry_.samples_folder() / state_.shards.back().file).fingerprint();
      })));
      state_.kept += state_.shards.back().rows;
      state_.next = next;
      parts_.write(state_);
    }
    first_ = next;
  }

  const CatalogueEntry& entry_;
  const CleanItem& item_;
  PicturePool& pool_;
  Progress& progress_;
  const core::StopFlag& stop_;
  CleanParts parts_;
  CleanState state_;
  CleanRows rows_;
  std::deque<Pending> pending_;
  std::int64_t first_ = 0;  ///< where the open shard begins
  std::int64_t total_ = 0;
  std::unordered_set<std::uint64_t> seen_;  ///< hashes of keys: foreign names may be long and many
};

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

using TakeMember = std::function<void(Member&&)>;

/// The raw file `index` of the item; `passed_over`: members that did not even reach `take`.
void read_file(const CatalogueEntry& entry, const CleanItem& item, std::size_t index,
               const ArchiveRules& rules, const TakeMember& take, PassedOver& passed_over,
               const core::StopFlag& stop) {
  const store::ShardEntry& file = item.files[index];
  const auto number = static_cast<std::uint32_t>(index);
  const fs::path path = entry.raw_folder() / file.file;
  check_raw(entry, file, stop);
  if (entry.archive == "none") {
    Member member = loose_member(path, file);
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

bool is_any_of(const std::vector<std::string>& patterns, std::string_view path) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) { return matches(pattern, path); });
}

/// Records of what holds pixels and classes.
void read_labelled(const CatalogueEntry& entry, const CleanItem& item, const PictureTables& tables,
                   const TakeRecord& take, PassedOver& passed_over, const core::StopFlag& stop) {
  const bool file_held = is_any_of(entry.splits.held_out_files, tables.path_of(item.files[0].file));
  std::string from;
  const TakeRecord marked = [&](RawRecord&& raw) {
    raw.held_out = file_held || is_any_of(entry.splits.held_out_members, from);
    take(std::move(raw));
  };
  const auto damaged = [&](const std::exception& error) {
    core::user_error("{}; {}", error.what(), fetch_anew(entry, item.files[0].file));
  };
  if (entry.record.kind == "parquet") {
    check_raw(entry, item.files[0], stop);
    try {
      return parquet_records(entry.raw_folder() / item.files[0].file, entry.record, marked, stop);
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
      if (!entry.record.members.empty() && !is_any_of(entry.record.members, member.name))
        return passed_over.add(1, member.name);
      if (!member.skip.empty()) core::user_error("{}: {}", member.name, member.skip);
      from = member.name;
      cifar_records(member, marked);
    };
    read_file(entry, item, i, rules, member_of, passed_over, stop);
  }
  if (entry.record.kind != "idx") return;
  try {
    idx_records(pair.at(0), pair.at(1), marked);
  } catch (const core::UserError& error) {
    damaged(error);
  }
}

}  // namespace

Member loose_member(const fs::path& path, const store::ShardEntry& file) {
  if (file.bytes > limits::kRecordBytes)
    return {.name = file.file, .bytes = {}, .skip = "unsupported.oversize", .offset = 0};
  return {.name = file.file, .bytes = read_bytes(path, file.bytes), .skip = {}, .offset = 0};
}

void with_rows(const CatalogueEntry& entry, const PictureTables& tables, const std::string& file, RawRecord&& raw,
               const std::function<void(RawRecord&&)>& take) {
  if (entry.tables.empty() || !raw.skip.empty()) return take(std::move(raw));
  std::vector<TableCells> rows = tables.rows(file, raw.key);
  if (rows.empty()) raw.skip = "filtered.no_row";
  for (std::size_t i = 1; i < rows.size(); ++i) {
    RawRecord another = raw;
    another.key += fmt::format("#{}", i + 1);
    another.cells = std::move(rows[i]);
    rows[i].clear();
    if (i == 1) {
      RawRecord first = raw;
      first.cells = std::move(rows[0]);
      take(std::move(first));
    }
    take(std::move(another));
  }
  if (rows.size() > 1) return;
  if (!rows.empty()) raw.cells = std::move(rows[0]);
  take(std::move(raw));
}

std::optional<store::Record> clean_item(const CatalogueEntry& entry, const CleanItem& item,
                                        const PictureTables& tables, PicturePool& pool, Progress& progress,
                                        const core::StopFlag& stop) {
  const ArchiveRules rules{
      .kind = entry.archive, .wanted = wanted_extensions(entry), .offsets = entry.images == "reference"};
  try {
    ItemCleaner cleaner(entry, item, pool, progress, stop);
    PassedOver passed_over;
    if (entry.record.is_labelled()) {
      read_labelled(entry, item, tables, [&](RawRecord&& raw) { cleaner.add(std::move(raw)); }, passed_over, stop);
      return cleaner.finish(passed_over);
    }
    RecordGrouper grouper(record_endings(entry), [&](RawRecord&& raw) {
      const std::size_t file = raw.members.empty() ? 0 : raw.members.begin()->second.file;
      const std::string& name = item.files.at(file).file;
      raw.held_out = is_any_of(entry.splits.held_out_files, tables.path_of(name)) ||
                     std::ranges::any_of(raw.members, [&](const auto& member) {
                       return is_any_of(entry.splits.held_out_members, member.second.name);
                     });
      with_rows(entry, tables, name, std::move(raw), [&](RawRecord&& one) { cleaner.add(std::move(one)); });
    });
    const TakeMember take = [&](Member&& member) { grouper.add(std::move(member)); };
    for (std::size_t i = 0; i < item.files.size(); ++i)
      read_file(entry, item, i, rules, take, passed_over, stop);
    grouper.finish();
    passed_over.add(grouper.passed_over().count, grouper.passed_over().example);
    return cleaner.finish(passed_over);
  } catch (const Stopped&) {
    return std::nullopt;
  }
}

}  // namespace microdit::ingest

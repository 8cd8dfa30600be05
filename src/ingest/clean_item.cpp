// Records one after another: captions here, pictures in the pool, shards closed by count and by bytes.
#include "ingest/clean_item.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <unordered_set>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/utf8.h"
#include "ingest/archives.h"
#include "ingest/clean_parts.h"
#include "ingest/clean_rows.h"
#include "ingest/limits.h"
#include "ingest/records.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShownValue = 60;  // bytes of one that is no number
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
  ItemCleaner(const CatalogueEntry& entry, const CleanItem& item, const PictureTables& tables,
              PicturePool& pool, Progress& progress, const core::StopFlag& stop)
      : entry_(entry),
        reader_(entry),
        item_(item),
        tables_(tables),
        pool_(pool),
        progress_(progress),
        stop_(stop),
        parts_(entry.samples_folder(), item.item),
        state_(parts_.read()),
        rows_(entry, names_of(item.files)),
        most_(limits::records_of(bytes_of_files(item))) {
    const std::vector<std::string> columns = entry.kept_columns();
    if (!entry.record.classes.empty() && entry.record.has_classes())
      class_column_ = std::ranges::find(columns, "class") - columns.begin();
    first_ = state_.next;
    if (!state_.shards.empty())
      core::log_info("clean: {}: {} shards of an earlier life are kept, {} records are passed over",
                     item.item.name, state_.shards.size(), state_.next);
  }

  void add(RawRecord&& raw) {
    if (stop_.requested()) throw Stopped();
    const std::int64_t index = total_++;
    if (static_cast<std::uint64_t>(total_) > most_)
      core::user_error("{}: more than {} records, which files of {} bytes may hold: refused as hostile",
                       item_.files.front().file, most_, bytes_of_files(item_));
    const bool fresh =
        entry_.record.is_numbered() || seen_.insert(core::xxh3_64(std::as_bytes(std::span(raw.key)))).second;
    if (index < state_.next) return;
    progress_.add(1);
    Pending& pending = pending_.emplace_back();
    pending.index = index;
    if (fresh)
      pending.reason = reader_.read(std::move(raw), pending.kept.record, stop_);
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
  store::Record finish(const MemberNotes& notes) {
    while (!pending_.empty()) settle_first();
    close(total_);
    if (!state_.skipped.empty())
      core::log_info("clean: {}: skipped {} of {} records: {}", item_.item.name, state_.skipped.total(),
                     total_, state_.skipped.text());
    core::Json details = {{"records", total_},
                          {"kept", state_.kept},
                          {"skipped", state_.skipped.to_json()},
                          {"lost_captions", state_.lost_captions.to_json()},
                          {"lost_columns", state_.lost_columns.to_json()},
                          {"without_row", state_.without_row.to_json()},
                          {"passed_over", notes.passed_over.to_json()},
                          {"patterns", notes.patterns},
                          {"fingerprints", state_.fingerprints}};
    state_.add_kept_to(details);
    return {item_.item.name, state_.shards, std::move(details)};
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
    const std::vector<std::string>& sources = reader_.sources();
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (const std::string& reason = kept.record.lost[i]; !reason.empty())
        state_.lost_captions.add(sources[i] + ": " + reason, kept.record.key);
      if (!kept.record.captions[i].empty()) state_.captions.add(sources[i], kept.record.key);
    }
    for (const std::size_t table : kept.record.without_row)
      state_.without_row.add(tables_.name(table), kept.record.key);
    if (class_column_)
      if (const double number = kept.record.columns.at(static_cast<std::size_t>(*class_column_)); number >= 0)
        state_.classes.insert(static_cast<std::int64_t>(number));
    for (const auto& [reason, value] : kept.record.lost_columns)
      state_.lost_columns.add(reason,
                              fmt::format("{}: '{}'", kept.record.key, core::shortened(value, kShownValue)));
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
  const RecordReader reader_;
  const CleanItem& item_;
  const PictureTables& tables_;
  PicturePool& pool_;
  Progress& progress_;
  const core::StopFlag& stop_;
  CleanParts parts_;
  CleanState state_;
  CleanRows rows_;
  std::deque<Pending> pending_;
  std::int64_t first_ = 0;  ///< where the open shard begins
  std::int64_t total_ = 0;
  std::uint64_t most_;
  std::optional<std::ptrdiff_t> class_column_{};  ///< of the kept ones; where classes have names
  std::unordered_set<std::uint64_t> seen_;        ///< hashes of keys: foreign names may be long and many
};

}  // namespace

std::optional<store::Record> clean_item(const CatalogueEntry& entry, const CleanItem& item,
                                        const PictureTables& tables, PicturePool& pool, Progress& progress,
                                        const core::StopFlag& stop) {
  try {
    ItemCleaner cleaner(entry, item, tables, pool, progress, stop);
    return cleaner.finish(read_item(
        entry, item, tables, [&](RawRecord&& raw) { cleaner.add(std::move(raw)); }, stop));
  } catch (const Stopped&) {
    return std::nullopt;
  }
}

}  // namespace microdit::ingest

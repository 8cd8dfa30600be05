// The same reading, grouping and checking as clean's.
#include "ingest/clean_trial.h"

#include <algorithm>
#include <chrono>
#include <deque>

#include "ingest/archives.h"
#include "ingest/records.h"

namespace microdit::ingest {
namespace {

constexpr std::int64_t kEnoughRecords = 500;
constexpr double kEnough_s = 3;
constexpr double kMemberOverhead = 1024;  // a tar's header and padding, about
constexpr double kRowOverhead = 60;       // offsets, sizes, split, hash of a row

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Ends the reading of an archive from inside.
struct Enough {};

/// A record whose picture is being checked.
struct Checked {
  ReadRecord record;
  PictureFuture result;
};

class Measurement {
 public:
  Measurement(const CatalogueEntry& entry, PicturePool& pool) : entry_(entry), reader_(entry), pool_(pool) {}

  void add(RawRecord&& raw) {
    ++trial_.records;
    if (entry_.archive != "none") note_members(raw);
    ReadRecord record;
    if (reader_.read(std::move(raw), record).empty()) {
      Checked& one = pending_.emplace_back(std::move(record));
      one.result = pool_.check(one.record.image, entry_.filters.min_side);
      if (std::ssize(pending_) >= pool_.most_pending()) take();
    }
    if (trial_.records >= kEnoughRecords || seconds_since(start_) > kEnough_s) throw Enough();
  }
  /// A loose file's bytes, read or passed over as too many.
  void pass(std::uint64_t bytes) { passed_ += static_cast<double>(bytes); }

  CleanTrial finish() {
    while (!pending_.empty()) take();
    trial_.raw_bytes = std::max(trial_.raw_bytes, passed_);
    trial_.seconds = seconds_since(start_);
    return trial_;
  }

 private:
  void note_members(const RawRecord& raw) {
    for (const auto& [extension, member] : raw.members) {
      const auto bytes = static_cast<double>(member.bytes.size());
      trial_.raw_bytes += bytes + kMemberOverhead;
      if (member.offset >= 0)  // a plain tar tells what passed by, wanted or not
        passed_ = std::max(passed_, static_cast<double>(member.offset) + bytes);
    }
  }

  void take() {
    const ReadRecord& record = pending_.front().record;
    const auto decoded = [&] { return pending_.front().result.get(); };
    if (naming(entry_.name, record.key, decoded).reason.empty()) {
      ++trial_.kept;
      trial_.samples_bytes += kRowOverhead + static_cast<double>(record.key.size());
      if (entry_.images == "copy") trial_.samples_bytes += static_cast<double>(record.image.size());
      for (const std::string& caption : record.captions)
        trial_.samples_bytes += static_cast<double>(caption.size()) + 8;
    }
    pending_.pop_front();
  }

  const CatalogueEntry& entry_;
  const RecordReader reader_;
  PicturePool& pool_;
  std::deque<Checked> pending_;
  Clock::time_point start_ = Clock::now();
  double passed_ = 0;
  CleanTrial trial_;
};

}  // namespace

std::optional<CleanTrial> try_records(const CatalogueEntry& entry, const CleanItem& item,
                                      const PictureTables& tables, const core::StopFlag& stop) {
  PicturePool pool(entry.pictures, 1, limits::kPictureSeconds, &stop);
  Measurement measurement(entry, pool);
  const std::string& first = item.files.front().file;
  const RawPlace place{first, tables.path_of(first)};
  RecordGrouper grouper(record_endings(entry), [&](RawRecord&& raw) {
    with_rows(entry, tables, place, std::move(raw),
              [&](RawRecord&& one) { measurement.add(std::move(one)); });
  });
  try {
    for (const store::ShardEntry& file : item.files) {
      if (stop.requested()) return std::nullopt;
      const std::filesystem::path path = entry.raw_folder() / file.file;
      if (entry.archive == "none") {
        measurement.pass(file.bytes);
        grouper.add(loose_member(entry, file, tables));
      } else {
        for_each_member(
            path,
            {.kind = entry.archive, .wanted = wanted_extensions(entry), .offsets = entry.archive == "tar"},
            [&](Member&& member) { grouper.add(std::move(member)); }, &stop);
      }
    }
    if (!stop.requested()) grouper.finish();
  } catch (const Enough&) {
  }
  const CleanTrial trial = measurement.finish();
  if (stop.requested()) return std::nullopt;  // what a stopped worker says of a picture is no verdict
  return trial;
}

}  // namespace microdit::ingest

// The same reading, grouping and checking as clean's.
#include "ingest/clean_trial.h"

#include <algorithm>
#include <chrono>
#include <deque>

#include "core/atomic_file.h"
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

/// A record whose picture is being checked.
struct Checked {
  ReadRecord record;
  PictureFuture result;
};

class Measurement {
 public:
  Measurement(const CatalogueEntry& entry, PicturePool& pool) : entry_(entry), pool_(pool) {}

  void add(RawRecord&& raw) {
    if (enough_.requested()) return;
    ++trial_.records;
    for (const auto& [extension, member] : raw.members) {
      trial_.raw_bytes += static_cast<double>(member.bytes.size()) + kMemberOverhead;
      if (member.offset >= 0)  // a plain tar tells what passed by, wanted or not
        passed_ =
            std::max(passed_, static_cast<double>(member.offset) + static_cast<double>(member.bytes.size()));
    }
    ReadRecord record;
    if (read_record(std::move(raw), entry_, record).empty()) {
      Checked& one = pending_.emplace_back(std::move(record));
      one.result = pool_.check(one.record.image, entry_.filters.min_side);
      if (std::ssize(pending_) >= pool_.most_pending()) take();
    }
    if (trial_.records >= kEnoughRecords || seconds_since(start_) > kEnough_s) enough_.request();
  }
  const core::StopFlag& enough() const { return enough_; }

  CleanTrial finish() {
    while (!pending_.empty()) take();
    trial_.raw_bytes = std::max(trial_.raw_bytes, passed_);
    trial_.seconds = seconds_since(start_);
    return trial_;
  }

 private:
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
  PicturePool& pool_;
  core::StopFlag enough_;
  std::deque<Checked> pending_;
  Clock::time_point start_ = Clock::now();
  double passed_ = 0;
  CleanTrial trial_;
};

}  // namespace

CleanTrial try_records(const CatalogueEntry& entry, const CleanItem& item) {
  PicturePool pool(entry.pictures, 1);
  Measurement measurement(entry, pool);
  RecordGrouper grouper(record_endings(entry), [&](RawRecord&& raw) { measurement.add(std::move(raw)); });
  for (const store::ShardEntry& file : item.files) {
    const std::filesystem::path path = entry.raw_folder() / file.file;
    if (entry.archive == "none") {
      const std::string text = core::read_text(path);
      const auto bytes = std::as_bytes(std::span(text));
      grouper.add({.name = file.file, .bytes = {bytes.begin(), bytes.end()}, .skip = ""});
    } else {
      for_each_member(
          path,
          {.kind = entry.archive, .wanted = wanted_extensions(entry), .offsets = entry.archive == "tar"},
          [&](Member&& member) { grouper.add(std::move(member)); }, &measurement.enough());
    }
    if (measurement.enough().requested()) break;
  }
  if (!measurement.enough().requested()) grouper.finish();
  return measurement.finish();
}

}  // namespace microdit::ingest

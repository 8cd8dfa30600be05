// External merge sort.
#include "tables/row_sorter.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/error.h"

namespace microdit::tables {
namespace {

constexpr std::size_t kHeadBytes = 2 * sizeof(std::uint32_t);
constexpr std::size_t kLeastBuffer = 16 << 10, kMostBuffer = 4u << 20, kStaging = 1u << 20;

/// The first eight bytes as a number that compares as they do.
std::uint64_t order_of(std::string_view bytes) {
  std::uint64_t order = 0;
  std::memcpy(&order, bytes.data(), std::min(bytes.size(), sizeof order));
  return __builtin_bswap64(order);
}

struct Head {
  std::uint32_t key, row;
};

Head head_of(const char* record) {
  Head head;
  std::memcpy(&head, record, sizeof head);
  return head;
}

}  // namespace

/// One run, read front to back.
class RowSorter::Cursor {
 public:
  Cursor(const HiddenFile& file, Run run, std::size_t buffer, std::size_t number)
      : file_(file), run_(run), number_(number), buffer_(buffer) {
    next();
  }
  bool done() const { return key_.data() == nullptr; }
  std::string_view key() const { return key_; }
  std::string_view row() const { return row_; }

  void next() {
    at_ += key_.data() == nullptr ? 0 : kHeadBytes + key_.size() + row_.size();
    if (at_ == filled_ && run_.begin == run_.end) return void(key_ = row_ = {});
    need(kHeadBytes);
    const Head head = head_of(buffer_.data() + at_);
    need(kHeadBytes + head.key + head.row);
    const std::string_view record(buffer_.data() + at_ + kHeadBytes, std::size_t{head.key} + head.row);
    key_ = record.substr(0, head.key);
    row_ = record.substr(head.key);
    order_ = order_of(key_);
  }

  /// Whether this one's row comes later: a greater key, or an equal one of a later run.
  bool after(const Cursor& other) const {
    if (order_ != other.order_) return order_ > other.order_;
    const int compared = key_.compare(other.key_);
    return compared != 0 ? compared > 0 : number_ > other.number_;
  }

 private:
  /// So many bytes from `at_` on are in the buffer.
  void need(std::size_t bytes) {
    if (filled_ - at_ >= bytes) return;
    std::memmove(buffer_.data(), buffer_.data() + at_, filled_ - at_);
    filled_ -= at_;
    at_ = 0;
    if (buffer_.size() < bytes) buffer_.resize(bytes);
    const std::size_t more = std::min<std::uint64_t>(buffer_.size() - filled_, run_.end - run_.begin);
    core::check(filled_ + more >= bytes, "a sorted run ends within a row");
    file_.read_at(run_.begin, std::span(buffer_).subspan(filled_, more));
    run_.begin += more;
    filled_ += more;
  }

  const HiddenFile& file_;
  Run run_;  ///< what has not been read
  std::size_t number_;
  std::vector<char> buffer_;
  std::size_t at_ = 0, filled_ = 0;
  std::string_view key_, row_;
  std::uint64_t order_ = 0;
};

RowSorter::RowSorter(const std::filesystem::path& scratch, std::size_t memory, bool first_only,
                     const core::StopFlag& stop)
    : file_(std::in_place, scratch, HiddenFile::Use::scratch, stop),
      memory_(memory / sizeof(Entry) * sizeof(Entry)),
      first_only_(first_only),
      stop_(stop),
      buffer_(new char[memory_]) {}

std::string_view RowSorter::key_at(std::uint64_t offset) const {
  const char* record = buffer_.get() + offset;
  return {record + kHeadBytes, head_of(record).key};
}

std::string_view RowSorter::record_at(std::uint64_t offset) const {
  const char* record = buffer_.get() + offset;
  const Head head = head_of(record);
  return {record, kHeadBytes + head.key + head.row};
}

std::span<RowSorter::Entry> RowSorter::entries() {
  return {reinterpret_cast<Entry*>(buffer_.get() + memory_) - num_entries_, num_entries_};
}

void RowSorter::add(std::string_view key, std::string_view row) {
  const std::size_t record = kHeadBytes + key.size() + row.size();
  if (used_ + record + (num_entries_ + 1) * sizeof(Entry) > memory_) spill();
  core::check(record + sizeof(Entry) <= memory_, "a row of {} bytes in {} bytes of memory", record, memory_);
  if (num_entries_ == 0) {
    shared_ = key.size();
  } else {
    const std::string_view first = key_at(0).substr(0, shared_);
    shared_ = static_cast<std::size_t>(
        std::mismatch(first.begin(), first.end(), key.begin(), key.end()).first - first.begin());
  }
  const Head head{static_cast<std::uint32_t>(key.size()), static_cast<std::uint32_t>(row.size())};
  char* to = buffer_.get() + used_;
  std::memcpy(to, &head, sizeof head);
  std::memcpy(to + kHeadBytes, key.data(), key.size());
  std::memcpy(to + kHeadBytes + key.size(), row.data(), row.size());
  ++num_entries_;
  entries()[0] = {0, used_};
  used_ += record;
  bytes_ += key.size() + row.size();
  key_bytes_ += key.size();
  ++rows_;
}

void RowSorter::sort_entries() {
  for (Entry& entry : entries()) entry.order = order_of(key_at(entry.offset).substr(shared_));
  std::uint32_t compared = 0;
  const auto all = entries();
  std::sort(all.begin(), all.end(), [&](const Entry& a, const Entry& b) {
    if (++compared % 65'536 == 0 && stop_.requested()) throw core::Stopped();
    if (a.order != b.order) return a.order < b.order;
    const int keys = key_at(a.offset).compare(key_at(b.offset));
    return keys != 0 ? keys < 0 : a.offset < b.offset;  // as they came
  });
}

void RowSorter::spill() {
  if (num_entries_ == 0) return;
  sort_entries();
  Run run{file_->size(), 0};
  std::string staged;
  std::string_view last;
  for (const Entry& entry : entries()) {
    const std::string_view key = key_at(entry.offset);
    if (first_only_ && last.data() != nullptr && key == last) continue;
    last = key;
    staged += record_at(entry.offset);
    if (staged.size() < kStaging) continue;
    file_->append(staged);
    staged.clear();
  }
  file_->append(staged);
  run.end = file_->size();
  runs_.push_back(run);
  used_ = num_entries_ = 0;
}

void RowSorter::merge(const std::function<void(std::string_view, std::string_view)>& give) {
  spill();
  buffer_.reset();
  const std::size_t buffer =
      std::clamp(memory_ / std::max<std::size_t>(runs_.size(), 1), kLeastBuffer, kMostBuffer);
  std::vector<std::unique_ptr<Cursor>> heap;
  for (const Run& run : runs_) heap.push_back(std::make_unique<Cursor>(*file_, run, buffer, heap.size()));
  const auto later = [](const auto& a, const auto& b) { return a->after(*b); };
  std::make_heap(heap.begin(), heap.end(), later);
  for (std::uint64_t given = 0; !heap.empty(); ++given) {
    if (given % 4096 == 0 && stop_.requested()) throw core::Stopped();
    std::pop_heap(heap.begin(), heap.end(), later);
    Cursor& least = *heap.back();
    give(least.key(), least.row());
    least.next();
    if (least.done()) {
      heap.pop_back();
    } else {
      std::push_heap(heap.begin(), heap.end(), later);
    }
  }
  file_.reset();
}

}  // namespace microdit::tables

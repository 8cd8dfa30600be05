// A thread reads pieces ahead, the reader of rows takes them.
#include "ingest/table_bytes.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/input_file.h"
#include "ingest/archives.h"
#include "ingest/glob.h"
#include "ingest/limits.h"
#include "tables/key_template.h"

namespace microdit::ingest {
namespace {

constexpr std::size_t kAhead = 4;  // pieces

bool same_path(std::string_view a, std::string_view b) {
  return tables::path_parts(a).path == tables::path_parts(b).path;
}

/// Names of members that are not meant, the first of them.
class OtherNames {
 public:
  void add(const std::string& name) {
    if (names_.size() < kNamed) names_.push_back(name);
  }
  [[noreturn]] void refuse(const std::filesystem::path& file, const std::string& meant) const {
    core::user_error("tables: {}: holds no file {}, but: {}", file.filename().string(), meant,
                     names_.empty() ? "none" : fmt::format("{}", fmt::join(names_, ", ")));
  }

 private:
  static constexpr std::size_t kNamed = 5;
  std::vector<std::string> names_;
};

/// CRLF and CR as LF.
std::string with_plain_line_ends(std::span<const std::byte> bytes) {
  std::string text;
  const auto at = [&](std::size_t i) { return static_cast<char>(bytes[i]); };
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (at(i) == '\r' && i + 1 < bytes.size() && at(i + 1) == '\n') continue;
    text += at(i) == '\r' ? '\n' : at(i);
  }
  return text;
}

}  // namespace

TableBytes::TableBytes(std::filesystem::path file, std::string archive, std::string member,
                       const core::StopFlag& stop)
    : file_(std::move(file)), archive_(std::move(archive)), member_(std::move(member)), stop_(stop) {
  if (archive_ != "none" && archive_ != "gz" && member_.empty())
    core::user_error("tables: {}: is an archive; say which file in it: member", file_.filename().string());
  if ((archive_ == "none" || archive_ == "gz") && !member_.empty())
    core::user_error("tables: {}: is no archive of several files: it has no member {}",
                     file_.filename().string(), member_);
  thread_ = std::thread([this] {
    try {
      archive_ == "none" ? read_file() : read_member();
    } catch (...) {
      failed_ = std::current_exception();
    }
    const std::lock_guard lock(lock_);
    over_ = true;
    changed_.notify_all();
  });
}

TableBytes::~TableBytes() {
  {
    const std::lock_guard lock(lock_);
    given_up_.request();
    changed_.notify_all();
  }
  thread_.join();
}

/// False when nobody wants it any more.
bool TableBytes::put(Piece&& piece) {
  std::unique_lock lock(lock_);
  changed_.wait(lock, [&] { return pieces_.size() < kAhead || given_up_.requested(); });
  if (given_up_.requested()) return false;
  pieces_.push_back(std::move(piece));
  changed_.notify_all();
  return true;
}

void TableBytes::read_file() {
  const core::InputFile in(file_);
  if (!put({.begins = ""})) return;
  for (std::uint64_t at = 0; at < in.size();) {
    std::vector<std::byte> piece(std::min<std::uint64_t>(limits::kPieceBytes, in.size() - at));
    in.read_at(at, piece);
    at += piece.size();
    if (!put({std::move(piece)})) return;
  }
}

void TableBytes::read_member() {
  const bool several = is_glob(member_);
  const auto is_meant = [&](const std::string& name) {
    return archive_ == "gz" || (several ? matches(member_, name) : same_path(name, member_));
  };
  bool found = false, whole = true;  // the member that came last
  OtherNames others;
  struct Enough {};
  const auto demand = [](bool wanted) {
    if (!wanted) throw Enough();
  };
  try {
    for_each_member(
        file_, {.kind = archive_, .member_bytes = limits::kTableBytes, .pieces = true},
        [&](Member&& member) {
          if (!is_meant(member.name)) return others.add(member.name);
          if (found && whole && !several) return;  // of this name a second time
          if (!member.skip.empty()) core::user_error("{}: {}: {}", file_.string(), member.name, member.skip);
          if (whole) demand(put({.begins = archive_ == "gz" ? "" : member.name}));
          found = true;
          whole = !member.more;
          demand(put({std::move(member.bytes)}));
        },
        &given_up_);
  } catch (const Enough&) {
    return;
  }
  if (!found && !given_up_.requested()) others.refuse(file_, member_);
}

/// False at the end. core::Stopped; what the reading thread threw.
bool TableBytes::wait_for_piece(std::unique_lock<std::mutex>& lock) {
  while (pieces_.empty() && !over_) {
    if (stop_.requested()) throw core::Stopped();
    changed_.wait_for(lock, std::chrono::milliseconds(100));
  }
  if (pieces_.empty() && failed_) std::rethrow_exception(failed_);
  return !pieces_.empty();
}

std::optional<std::string> TableBytes::next() {
  std::unique_lock lock(lock_);
  while (wait_for_piece(lock)) {
    const std::optional<std::string> begins = std::move(pieces_.front().begins);
    pieces_.pop_front();
    taken_ = 0;
    changed_.notify_all();
    if (begins) return begins;
  }
  return std::nullopt;
}

std::size_t TableBytes::take(std::span<std::byte> out) {
  std::unique_lock lock(lock_);
  while (wait_for_piece(lock) && !pieces_.front().begins) {
    std::vector<std::byte>& first = pieces_.front().bytes;
    const std::size_t count = std::min(out.size(), first.size() - taken_);
    std::memcpy(out.data(), first.data() + taken_, count);
    taken_ += count;
    if (taken_ == first.size()) {
      pieces_.pop_front();
      taken_ = 0;
      changed_.notify_all();
    }
    if (count > 0) return count;
  }
  return 0;
}

tables::ByteSource TableBytes::source() {
  return [this](std::span<std::byte> out) { return take(out); };
}

void read_texts(const std::filesystem::path& file, const std::string& archive, const std::string& pattern,
                tables::TextTable& texts, const core::StopFlag& stop) {
  if (archive == "none")
    core::user_error("tables: {}: kind: texts takes a tar, tar.gz or zip", file.filename().string());
  OtherNames others;
  bool found = false;
  const ArchiveSummary summary = for_each_member(
      file, {.kind = archive, .member_bytes = limits::kMiB},
      [&](Member&& member) {
        if (!pattern.empty() && !matches(pattern, member.name)) return others.add(member.name);
        found = true;
        if (!member.skip.empty()) return texts.add_damaged(member.name);
        texts.add(member.name, with_plain_line_ends(member.bytes));
      },
      &stop);
  if (summary.stopped) throw core::Stopped();
  if (!found) others.refuse(file, pattern.empty() ? "at all" : pattern);
}

}  // namespace microdit::ingest

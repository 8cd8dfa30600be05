// Partial files: lock, version, hash, free space.
#include "ingest/partial_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <utility>
#include <vector>

#include "core/atomic_file.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "ingest/limits.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kWriteBytes =
    8 * limits::kMiB;  // written out soon: who keeps them has less to wait for
constexpr std::uint64_t kKeptBytes = 64 * limits::kMiB;  // or after:
constexpr auto kKeptTime = std::chrono::minutes(1);
constexpr std::size_t kBlockBytes = 1 << 20;
constexpr const char* kMark = "microdit part 3";
constexpr const char* kEarlierMark = "microdit part 2";
constexpr int kOpenings = 8;  ///< while others publish or remove what was just opened

/// Whether `path` still names the open file.
bool is_named(const fs::path& path, int fd) {
  struct stat open {
  }, named{};
  if (::fstat(fd, &open) != 0) core::errno_error(errno, "{}: cannot be read", path.string());
  if (::stat(path.c_str(), &named) != 0) {
    if (errno == ENOENT) return false;
    core::errno_error(errno, "{}: cannot be read", path.string());
  }
  return open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

}  // namespace

void require_free_space(const fs::path& folder, std::uint64_t more) {
  struct statvfs about {};
  if (::statvfs(folder.c_str(), &about) != 0)
    core::errno_error(errno, "{}: cannot be asked for its free space", folder.string());
  const double free = static_cast<double>(about.f_bavail) * static_cast<double>(about.f_frsize);
  const double all = static_cast<double>(about.f_blocks) * static_cast<double>(about.f_frsize);
  const double floor = std::min(limits::kFreeFraction * all, static_cast<double>(limits::kFreeBytes));
  if (free - static_cast<double>(more) >= floor) return;
  const std::string why = fmt::format(
      "{}: {} are free, {} are wanted and {} must stay free: make room, or choose another MICRODIT_DATA; the "
      "same command continues",
      folder.string(), core::bytes_text(static_cast<std::uint64_t>(free)), core::bytes_text(more),
      core::bytes_text(static_cast<std::uint64_t>(floor)));
  if (free >= floor) core::user_error("{}", why);
  core::system_error("{}", why);
}

std::optional<PartialFile> PartialFile::open(const fs::path& path, HeadCheck check_head, std::string what) {
  for (int opening = 0; opening < kOpenings; ++opening) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) core::errno_error(errno, "{}: cannot be created", path.string());
    const bool locked = ::flock(fd, LOCK_EX | LOCK_NB) == 0;
    const bool held = !locked && errno == EWOULDBLOCK;
    PartialFile file(path, fd, locked, check_head, what);
    if (held) break;
    // Who held it until now may have published it: then this is the finished file.
    if (!is_named(path, fd)) continue;
    file.take_up();
    return file;
  }
  return std::nullopt;
}

PartialFile::PartialFile(fs::path path, int fd, bool locked, HeadCheck check_head, std::string what)
    : path_(std::move(path)),
      fd_(fd),
      locked_(locked),
      check_head_(std::move(check_head)),
      what_(std::move(what)) {
  const off_t end = ::lseek(fd_, 0, SEEK_END);
  if (end < 0) core::errno_error(errno, "{}: cannot be read", path_.string());
  bytes_ = static_cast<std::uint64_t>(end);
}

PartialFile::PartialFile(PartialFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      locked_(other.locked_),
      head_is_good_(other.head_is_good_),
      own_(other.own_),
      replaced_(other.replaced_),
      bytes_(other.bytes_),
      hashed_(other.hashed_),
      written_(other.written_),
      kept_(other.kept_),
      kept_at_(other.kept_at_),
      version_(std::move(other.version_)),
      hash_(std::move(other.hash_)),
      check_head_(std::move(other.check_head_)),
      what_(std::move(other.what_)),
      begun_(std::move(other.begun_)) {}

PartialFile::~PartialFile() {
  if (fd_ < 0) return;
  try {
    if (own_ && bytes_ > kept_) keep();
  } catch (const std::exception&) {  // what the mark says holds
  }
  ::close(fd_);
}

fs::path PartialFile::tag_path() const {
  return fs::path(path_) += ".etag";
}

FileVersion PartialFile::version() const {
  return bytes_ == 0 ? FileVersion() : version_;
}

void PartialFile::take_up() {
  own_ = true;
  std::error_code missing;
  if (bytes_ == 0 || !fs::exists(tag_path(), missing)) return;
  const std::string mark = core::read_text(tag_path()), head = mark_head();
  if (mark.starts_with(kEarlierMark)) {
    core::log_info("{}: is of an earlier microdit, which did not note how much of it is on disk; begun anew",
                   path_.string());
  }
  if (!mark.starts_with(head)) return;  // or of another file
  const std::string_view rest = std::string_view(mark).substr(head.size());
  const std::size_t line = std::min(rest.find('\n'), rest.size());
  std::uint64_t kept = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + line, kept);
  if (error != std::errc() || end != rest.data() + line || line == rest.size() || kept > bytes_) return;
  version_ = file_version_of(rest.substr(line + 1));
  replaced_ = bytes_;
  // Where nothing can be locked another may be writing behind it.
  if (locked_ && ::ftruncate(fd_, static_cast<off_t>(kept)) != 0)
    core::errno_error(errno, "{}: cannot be cut", path_.string());
  bytes_ = written_ = kept_ = kept;
}

/// All of it on disk, and a mark that says so.
void PartialFile::keep() {
  kept_at_ = std::chrono::steady_clock::now();
  if (!version_.validator().empty()) {
    if (::fdatasync(fd_) != 0) core::errno_error(errno, "{}: cannot be synced", path_.string());
    core::atomic_write(tag_path(), fmt::format("{}{}\n{}", mark_head(), bytes_, to_text(version_)));
  }
  kept_ = bytes_;
}

std::string PartialFile::mark_head() const {
  return fmt::format("{}\n{}\n", kMark, what_);
}

std::optional<std::string> PartialFile::sha256(const core::StopFlag& stop) {
  if (begun_) require_head();
  if (!locked_) {
    hash_ = std::make_unique<core::Sha256>();
    hashed_ = 0;
  }
  std::vector<std::byte> block(kBlockBytes);
  while (hashed_ < bytes_) {
    if (stop.requested()) return std::nullopt;
    const ssize_t got = ::pread(fd_, block.data(), std::min<std::uint64_t>(block.size(), bytes_ - hashed_),
                                static_cast<off_t>(hashed_));
    if (got < 0) core::errno_error(errno, "{}: cannot be read", path_.string());
    if (got == 0) core::system_error("{}: became shorter while it was read", path_.string());
    hash_->update(std::span(block).first(static_cast<std::size_t>(got)));
    hashed_ += static_cast<std::uint64_t>(got);
  }
  return hash_->hex_digest();
}

void PartialFile::begin(const FileVersion& version, std::int64_t announced) {
  require_free_space(path_.parent_path(), announced > 0 ? static_cast<std::uint64_t>(announced) : 0);
  begun_ = Begun{version};
  head_is_good_ = false;
  if (bytes_ == 0) replace();  // nothing to lose
}

// In this order, so that a kill in between leaves no bytes under the mark of others. A mark may lie there without bytes, too.
void PartialFile::replace() {
  const Begun begun = *std::exchange(begun_, std::nullopt);
  forget_version();
  replaced_ = std::max(replaced_, bytes_);
  if (::ftruncate(fd_, 0) != 0) core::errno_error(errno, "{}: cannot be emptied", path_.string());
  bytes_ = hashed_ = written_ = kept_ = 0;
  hash_ = std::make_unique<core::Sha256>();
  version_ = begun.version;
  write(begun.head);
}

void PartialFile::append(std::span<const std::byte> bytes) {
  if (begun_) {
    begun_->head.insert(begun_->head.end(), bytes.begin(), bytes.end());
    if (begun_->head.size() < limits::kHeadBytes) return;
    require_head();
  } else {
    write(bytes);
    if (bytes_ >= limits::kHeadBytes) require_head();
  }
  if (bytes_ - written_ < kWriteBytes) return;
  ::sync_file_range(fd_, static_cast<off_t>(written_), static_cast<off_t>(bytes_ - written_),
                    SYNC_FILE_RANGE_WRITE);
  written_ = bytes_;
  if (bytes_ - kept_ < kKeptBytes && std::chrono::steady_clock::now() - kept_at_ < kKeptTime) return;
  keep();
  // A file may take longer than a life, which the next one goes on with where the version is known. Where it began anew that
  // is none before there is more than was.
  if (bytes_ > replaced_ && !version_.validator().empty()) core::report_progress(path_.filename().string());
  require_free_space(path_.parent_path(), 0);
}

void PartialFile::write(std::span<const std::byte> bytes) {
  if (hashed_ == bytes_) {
    hash_->update(bytes);
    hashed_ += bytes.size();
  }
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(bytes_));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) core::errno_error(errno, "{}: cannot be written; is the disk full?", path_.string());
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    bytes_ += static_cast<std::uint64_t>(put);
  }
}

void PartialFile::require_head() {
  if (head_is_good_) return;
  if (begun_) {
    const std::span<const std::byte> head(begun_->head);
    const std::string why = check_head_(head.first(std::min(head.size(), limits::kHeadBytes)));
    if (!why.empty()) {
      take_back();
      core::user_error("{}", why);
    }
    replace();
  } else {
    std::array<std::byte, limits::kHeadBytes> head{};
    const ssize_t got = ::pread(fd_, head.data(), head.size(), 0);
    if (got < 0) core::errno_error(errno, "{}: cannot be read", path_.string());
    const std::string why = check_head_(std::span(head).first(static_cast<std::size_t>(got)));
    if (!why.empty()) {
      discard();
      core::user_error("{}", why);
    }
  }
  head_is_good_ = true;
}

void PartialFile::forget_version() {
  version_ = {};
  std::error_code ignored;
  if (fs::remove(tag_path(), ignored)) core::sync_folder(path_.parent_path());
}

void PartialFile::discard() {
  std::error_code ignored;
  forget_version();
  fs::remove(path_, ignored);
  own_ = false;
}

void PartialFile::publish(const fs::path& final) {
  own_ = false;  // where it fails, nothing stays
  core::publish(path_, final);
  forget_version();
}

}  // namespace microdit::ingest

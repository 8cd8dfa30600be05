// Hidden files: written piece by piece, each piece after a look at the stop flag.
#include "tables/hidden_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"

namespace microdit::tables {
namespace {
constexpr std::size_t kPieceBytes = 1u << 20;
constexpr std::uint64_t kSyncBytes = 32u << 20;
}  // namespace

HiddenFile::HiddenFile(std::filesystem::path to, Use use, const core::StopFlag& stop)
    : to_(std::move(to)), aside_(core::temporary_path(to_)), use_(use), stop_(stop) {
  core::remove_stale_temporaries_of(to_);  // what a killed life left
  fd_ = ::open(aside_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) core::errno_error(errno, "{}: cannot be written", aside_.string());
}

HiddenFile::~HiddenFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  std::error_code ignored;
  std::filesystem::remove(aside_, ignored);
}

void HiddenFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    if (stop_.requested()) throw core::Stopped();
    const std::string_view piece = bytes.substr(0, kPieceBytes);
    if (!core::write_all(fd_, std::as_bytes(std::span(piece))))
      core::errno_error(errno, "{}: cannot be written", aside_.string());
    size_ += piece.size();
    unsynced_ += piece.size();
    bytes.remove_prefix(piece.size());
    if (use_ == Use::output && unsynced_ >= kSyncBytes) {
      if (::fdatasync(fd_) != 0) core::errno_error(errno, "{}: cannot sync to disk", aside_.string());
      unsynced_ = 0;
    }
  }
}

void HiddenFile::read_at(std::uint64_t offset, std::span<char> out) const {
  while (!out.empty()) {
    if (stop_.requested()) throw core::Stopped();
    const ssize_t got =
        ::pread(fd_, out.data(), std::min(out.size(), kPieceBytes), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) core::errno_error(errno, "{}: cannot read back what was written", aside_.string());
    if (got == 0) core::system_error("{}: ends before byte {}; somebody has cut it", aside_.string(), offset);
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

void HiddenFile::publish() {
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0) {
    const int error = errno;
    std::error_code ignored;
    std::filesystem::remove(aside_, ignored);
    core::errno_error(error, "{}: cannot be written", to_.string());
  }
  core::publish(aside_, to_);
}

}  // namespace microdit::tables

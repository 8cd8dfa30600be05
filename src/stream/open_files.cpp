// Descriptors by least recent use; vectored reads that go on after short ones.
#include "stream/open_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/error.h"
#include "stream/node_cache.h"

namespace microdit::stream {
namespace {

int open_to_read(const std::filesystem::path& path) {
  int fd;
  do fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  if (fd < 0 && errno == ENOENT)
    core::user_error(
        "{}: is missing; `doctor verify {}` lists what is, and the stage that made it makes it again",
        path.string(), path.parent_path().string());
  if (fd < 0) core::errno_error(errno, "{}: cannot be opened", path.string());
  return fd;
}

}  // namespace

OpenFile::OpenFile(const std::filesystem::path& path, bool random)
    : name_(path.string()), fd_(open_to_read(path)) {
  if (random) ::posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM);
}

OpenFile::~OpenFile() {
  ::close(fd_);
}

void OpenFile::read(std::uint64_t offset, std::span<iovec> parts) const {
  while (!parts.empty()) {
    const ssize_t got =
        ::preadv(fd_, parts.data(), static_cast<int>(parts.size()), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) core::errno_error(errno, "{}: cannot be read", name_);
    if (got == 0) core::user_error("{}: ends too early (at {} bytes); make the shard again", name_, offset);
    offset += static_cast<std::uint64_t>(got);
    for (auto left = static_cast<std::size_t>(got); left > 0;) {
      iovec& part = parts.front();
      const std::size_t step = std::min(left, part.iov_len);
      part.iov_base = static_cast<std::byte*>(part.iov_base) + step;
      part.iov_len -= step;
      left -= step;
      if (part.iov_len == 0) parts = parts.subspan(1);
    }
  }
}

void OpenFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (out.empty()) return;
  iovec part{out.data(), out.size()};
  read(offset, std::span(&part, 1));
}

bool OpenFile::read_cached(std::uint64_t offset, std::span<const iovec> parts) const {
  if (!tells_cached_) return false;
  ssize_t wanted = 0;
  for (const iovec& part : parts) wanted += static_cast<ssize_t>(part.iov_len);
  const ssize_t got =
      ::preadv2(fd_, parts.data(), static_cast<int>(parts.size()), static_cast<off_t>(offset), RWF_NOWAIT);
  if (got < 0 && errno != EAGAIN && errno != EINTR)
    tells_cached_ = false;  // an I/O error shows again when it is read
  return got == wanted;
}

void OpenFile::will_need(std::uint64_t offset, std::uint64_t bytes) const {
  ::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_WILLNEED);
}

void OpenFile::done_with(std::uint64_t offset, std::uint64_t bytes) const {
  ::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_DONTNEED);
}

OpenFiles::OpenFiles(std::size_t max_open, bool random, std::shared_ptr<NodeCache> cache)
    : max_open_(max_open), random_(random), cache_(std::move(cache)) {}

std::uint64_t OpenFiles::new_ids(std::uint64_t count) {
  const std::scoped_lock lock(lock_);
  return std::exchange(next_id_, next_id_ + count);
}

std::shared_ptr<OpenFile> OpenFiles::open(const FileName& file) {
  {
    const std::scoped_lock lock(lock_);
    if (const auto found = found_.find(file.id); found != found_.end()) {
      recent_.splice(recent_.begin(), recent_, found->second);
      return recent_.front().second;
    }
  }
  bool copy_may_come = false;
  if (cache_ && !file.cached_as.empty()) {
    if (const auto copy = cache_->find(file.cached_as, file.bytes))
      return keep(file.id, std::make_shared<OpenFile>(*copy, random_), false);
    copy_may_come = cache_->want(file.path, file.cached_as, file.bytes);
  }
  auto opened = std::make_shared<OpenFile>(file.path, random_);
  return copy_may_come ? opened : keep(file.id, std::move(opened), false);  // the next look finds the copy
}

std::shared_ptr<OpenFile> OpenFiles::reopen(const FileName& file) {
  if (cache_ && !file.cached_as.empty()) cache_->forget(file.cached_as);
  return keep(file.id, std::make_shared<OpenFile>(file.path, random_), true);
}

std::shared_ptr<OpenFile> OpenFiles::keep(std::uint64_t id, std::shared_ptr<OpenFile> file, bool replace) {
  std::shared_ptr<OpenFile> replaced, oldest;  // closed, if by anyone, behind the lock
  const std::scoped_lock lock(lock_);
  if (const auto found = found_.find(id); found != found_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
    if (replace) {
      replaced = std::exchange(recent_.front().second, file);
      return file;
    }
    replaced = std::move(file);  // another thread was faster
    return recent_.front().second;
  }
  recent_.emplace_front(id, file);
  found_[id] = recent_.begin();
  if (recent_.size() > max_open_) {
    oldest = std::move(recent_.back().second);  // closed once nobody reads from it any more
    found_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return file;
}

}  // namespace microdit::stream

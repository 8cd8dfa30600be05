// Appending with a memory for hard times.
#include "core/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/log.h"

namespace microdit::core {
namespace {

constexpr std::size_t kMostWaiting = std::size_t{64} << 20;

}  // namespace

AppendFile::AppendFile(std::filesystem::path path) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) errno_error(errno, "{}: cannot be written", path_.string());
}

AppendFile::~AppendFile() {
  flush();
  ::close(fd_);
}

void AppendFile::append(std::string_view bytes) {
  if (waiting_.size() + bytes.size() > kMostWaiting) {
    log_warn("{}: {} bytes could not be written for too long and are given up", path_.string(), bytes.size());
    return;
  }
  waiting_ += bytes;
  flush();
}

bool AppendFile::flush() {
  while (!waiting_.empty()) {
    const ssize_t written = ::write(fd_, waiting_.data(), waiting_.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      if (!std::exchange(warned_, true))
        log_warn("{}: cannot be written: {}; kept in memory and tried again", path_.string(),
                 std::strerror(errno));
      return false;
    }
    waiting_.erase(0, static_cast<std::size_t>(written));
  }
  if (std::exchange(warned_, false)) log_info("{}: written again", path_.string());
  return true;
}

void AppendFile::sync() {
  if (flush() && ::fsync(fd_) != 0)
    log_warn("{}: cannot be synced: {}", path_.string(), std::strerror(errno));
}

}  // namespace microdit::core

// Reading a file at any place with pread.
#include "core/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace microdit::core {

InputFile::InputFile(const std::filesystem::path& path) : path_(path) {
  // A pipe without a writer must not hold the job up.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0 && is_fault(errno)) errno_error(errno, "{}: cannot open", path.string());
  if (fd_ < 0) user_error("{}: cannot open: {}", path.string(), std::strerror(errno));
  look();
}

InputFile::InputFile(int open_file, std::filesystem::path name) : path_(std::move(name)), fd_(open_file) {
  look();
}

/// A constructor that fails leaves nothing open.
void InputFile::look() {
  struct stat about {};
  if (::fstat(fd_, &about) != 0) {
    const int error = errno;
    ::close(fd_);
    errno_error(error, "{}: cannot stat", path_.string());
  }
  if (!S_ISREG(about.st_mode)) {
    ::close(fd_);
    user_error("{}: not a regular file", path_.string());
  }
  size_ = static_cast<std::uint64_t>(about.st_size);
}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

void InputFile::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const std::size_t want = std::min<std::size_t>(out.size(), 1u << 30);
    const ssize_t got = ::pread(fd_, out.data(), want, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) errno_error(errno, "{}: cannot read", path_.string());
    if (got == 0) system_error("{}: ends before byte {}; it has been cut while open", path_.string(), offset);
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

std::string InputFile::read_string(std::uint64_t offset, std::uint64_t size) const {
  std::string text(size, '\0');
  read_at(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace microdit::core

// 512-byte headers, members padded to 512 bytes, two empty blocks at the end.
#include "ingest/tar_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"

namespace microdit::ingest {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::array<std::byte, 2 * kBlock> kNothing{};

struct Header {
  char name[100], mode[8], owner[8], group[8], size[12], time[12], checksum[8], type, link[100], magic[6],
      version[2], owner_name[32], group_name[32], device[16], prefix[155], unused[12];
};
static_assert(sizeof(Header) == kBlock);

template <std::size_t N>
void put(char (&field)[N], const std::string& text) {
  core::check(text.size() <= N, "a tar header's field holds {} bytes, not {}", N, text.size());
  std::memcpy(field, text.data(), text.size());
}

}  // namespace

TarFile::TarFile(std::filesystem::path path) : path_(std::move(path)), aside_(core::temporary_path(path_)) {
  fd_ = ::open(aside_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd_ < 0) core::errno_error(errno, "{}: cannot be written", aside_.string());
}

TarFile::~TarFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  std::error_code ignored;
  std::filesystem::remove(aside_, ignored);
}

void TarFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) core::errno_error(errno, "{}: cannot be written", path_.string());
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

void TarFile::add(const std::string& name, std::span<const std::byte> bytes) {
  Header header{};
  put(header.name, name);
  put(header.mode, "0000644");
  put(header.owner, "0000000");
  put(header.group, "0000000");
  put(header.size, fmt::format("{:011o}", bytes.size()));
  put(header.time, "00000000000");
  put(header.checksum, "        ");  // counted as blanks
  header.type = '0';
  put(header.magic, "ustar");
  put(header.version, "00");
  unsigned sum = 0;
  for (const std::byte byte : std::as_bytes(std::span(&header, 1))) sum += std::to_integer<unsigned>(byte);
  put(header.checksum, fmt::format("{:06o}", sum) + '\0' + ' ');
  write(std::as_bytes(std::span(&header, 1)));
  write(bytes);
  write(std::span(kNothing).first((kBlock - bytes.size() % kBlock) % kBlock));
}

void TarFile::publish() {
  write(kNothing);
  if (::close(std::exchange(fd_, -1)) != 0) {
    const int error = errno;
    std::error_code ignored;
    std::filesystem::remove(aside_, ignored);
    core::errno_error(error, "{}: cannot be written", path_.string());
  }
  core::publish(aside_, path_);
}

}  // namespace microdit::ingest

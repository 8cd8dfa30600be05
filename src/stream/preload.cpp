// One thread, plain reads.
#include "stream/preload.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <utility>

namespace microdit::stream {
namespace {

constexpr std::size_t kPiece = 1 << 20;  // what the kernel reads ahead becomes large folios

}  // namespace

Preload::Preload(std::vector<std::filesystem::path> files)
    : thread_([this, all = std::move(files)] { work(all); }) {}

Preload::~Preload() {
  stop_ = true;
  thread_.join();
}

void Preload::work(const std::vector<std::filesystem::path>& files) {
  std::vector<std::byte> piece(kPiece);
  for (const std::filesystem::path& file : files) {
    if (stop_) return;
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    while (!stop_ && ::read(fd, piece.data(), piece.size()) > 0) {
    }
    ::close(fd);
  }
}

}  // namespace microdit::stream

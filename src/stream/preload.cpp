// One thread, plain reads.
#include "stream/preload.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <utility>

#include "core/log.h"

namespace microdit::stream {
namespace {

constexpr std::size_t kPiece = 1 << 20;  // what the kernel reads ahead becomes large folios

std::vector<std::filesystem::path> files_of(const std::vector<std::unique_ptr<RowSource>>& sources) {
  std::vector<std::filesystem::path> files;
  for (const auto& source : sources) {
    const auto its = source->files();
    files.insert(files.end(), its.begin(), its.end());
  }
  if (!files.empty())
    core::log_info("data: {} files fit in memory and are read into it, in order, while training begins",
                   files.size());
  return files;
}

}  // namespace

Preload::Preload(const std::vector<std::unique_ptr<RowSource>>& sources) : Preload(files_of(sources)) {}

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

// One copying thread; a partial copy is held by flock (node-local file systems have it), so that one process makes it and what
// a killed one left is taken over.
#include "stream/node_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"

namespace microdit::stream {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kBlock = 4 << 20;
constexpr std::string_view kPartial = ".part";

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : fd(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  const int fd;
};

std::uint64_t bytes_in(const fs::path& folder) {
  std::uint64_t sum = 0;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator(folder, gone)) {
    const std::uint64_t bytes = entry.file_size(gone);
    if (!gone) sum += bytes;
  }
  return sum;
}

}  // namespace

NodeCache::NodeCache(fs::path folder, std::uint64_t max_bytes)
    : folder_(std::move(folder)), max_bytes_(max_bytes) {
  std::error_code failed;
  fs::create_directories(folder_, failed);
  if (failed || ::access(folder_.c_str(), W_OK | X_OK) != 0)
    core::user_error(
        "cache_dir: {} cannot be written; name a folder on a disk of the node, or leave the key out",
        folder_.string());
  thread_ = std::thread([this] { work(); });
}

NodeCache::~NodeCache() {
  {
    const std::scoped_lock lock(lock_);
    stop_ = true;
  }
  wanted_.notify_all();
  thread_.join();
}

std::optional<fs::path> NodeCache::find(const std::string& name, std::uint64_t bytes) const {
  std::error_code missing;
  const fs::path copy = folder_ / name;
  if (fs::file_size(copy, missing) != bytes || missing) return std::nullopt;
  return copy;
}

bool NodeCache::want(const fs::path& from, const std::string& name, std::uint64_t bytes) {
  const std::scoped_lock lock(lock_);
  if (!asked_.insert(name).second) return pending_.contains(name);
  pending_.insert(name);
  wishes_.push_back({from, name, bytes});
  wanted_.notify_one();
  return true;
}

void NodeCache::forget(const std::string& name) {
  {
    const std::scoped_lock lock(lock_);
    asked_.insert(name);
  }
  std::error_code ignored;
  fs::remove(folder_ / name, ignored);
}

bool NodeCache::stopped() {
  const std::scoped_lock lock(lock_);
  return stop_;
}

void NodeCache::work() {
  std::unique_lock lock(lock_);
  while (true) {
    wanted_.wait(lock, [this] { return stop_ || !wishes_.empty(); });
    if (stop_) return;
    const Wish wish = std::move(wishes_.front());
    wishes_.pop_front();
    lock.unlock();
    copy(wish);
    lock.lock();
    pending_.erase(wish.name);
  }
}

// What goes wrong here costs nothing but the copy: the shard itself is read.
void NodeCache::copy(const Wish& wish) {
  if (bytes_in(folder_) + wish.bytes > max_bytes_) return;
  const fs::path partial = folder_ / (wish.name + std::string(kPartial));
  const Descriptor out(partial, O_WRONLY | O_CREAT), in(wish.from, O_RDONLY);
  if (out.fd < 0 || in.fd < 0 || ::flock(out.fd, LOCK_EX | LOCK_NB) != 0) return;
  if (find(wish.name, wish.bytes)) return;
  std::vector<std::byte> block(kBlock);
  std::uint64_t copied = 0;
  bool good = ::ftruncate(out.fd, 0) == 0;
  while (good && !stopped()) {
    const ssize_t got = ::read(in.fd, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) break;
    good = got > 0 && core::write_all(out.fd, std::span(block).first(static_cast<std::size_t>(got)));
    copied += static_cast<std::uint64_t>(std::max<ssize_t>(got, 0));
  }
  std::error_code failed;
  if (good && copied == wish.bytes && ::fsync(out.fd) == 0) fs::rename(partial, folder_ / wish.name, failed);
  if (!good || copied != wish.bytes || failed) {
    fs::remove(partial, failed);
    if (!good)
      core::log_warn("cache_dir: {} could not be copied to {}", wish.from.string(), folder_.string());
  }
}

}  // namespace microdit::stream

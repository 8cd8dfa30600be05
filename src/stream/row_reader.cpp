// pread with vectors over sorted requests.
#include "stream/row_reader.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>

#include "core/error.h"
#include "core/hash.h"

namespace microdit::stream {
namespace {

constexpr std::size_t kMaxVector = 64;  // rows per call, far below IOV_MAX

std::uint64_t place(const RowRequest& request) {
  return request.table->offset + static_cast<std::uint64_t>(request.row) * request.table->row_bytes;
}

void read_vector(int fd, const RowRequest* first, std::size_t count) {
  std::vector<iovec> parts(count);
  for (std::size_t i = 0; i < count; ++i) parts[i] = {first[i].out, first[i].table->row_bytes};
  std::uint64_t offset = place(*first);
  for (std::size_t done = 0; done < count;) {
    const ssize_t got =
        ::preadv(fd, parts.data() + done, static_cast<int>(count - done), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    const std::string file = first->shard->path.string();
    if (got < 0) core::errno_error(errno, "{}: cannot be read", file);
    if (got == 0)
      core::user_error("{}: ends inside column `{}`; make the shard again", file, first->table->column);
    offset += static_cast<std::uint64_t>(got);
    for (std::size_t left = static_cast<std::size_t>(got); left > 0;) {
      const std::size_t step = std::min(left, parts[done].iov_len);
      parts[done].iov_base = static_cast<std::byte*>(parts[done].iov_base) + step;
      parts[done].iov_len -= step;
      left -= step;
      done += parts[done].iov_len == 0;
    }
  }
}

void check_row(const RowRequest& request) {
  if (request.table->hashes.empty()) return;
  const std::span<const std::byte> bytes(request.out, request.table->row_bytes);
  if (core::xxh3_64(bytes) == request.table->hashes[static_cast<std::size_t>(request.row)]) return;
  const store::ShardReader shard(request.shard->path);
  std::string key;
  if (shard.has("key") && shard.has("key_offsets"))
    key = fmt::format(" (`{}`)",
                      store::read_strings(shard, "key")[static_cast<std::size_t>(request.sample_row)]);
  core::user_error(
      "{}: sample {}{}: row {} of `{}` does not match its checksum; run `doctor verify {}` and make the "
      "shard again",
      request.shard->path.string(), request.sample_row, key, request.row, request.table->column,
      request.shard->path.parent_path().string());
}

}  // namespace

class RowReader::OpenFile {
 public:
  OpenFile(const std::filesystem::path& path, bool random) : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd < 0) core::errno_error(errno, "{}: cannot be opened", path.string());
    if (random) ::posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
  }
  ~OpenFile() { ::close(fd); }
  OpenFile(const OpenFile&) = delete;
  const int fd;
};

std::shared_ptr<RowReader::OpenFile> RowReader::open(const ShardIndex& shard) {
  const std::scoped_lock lock(lock_);
  if (const auto found = found_.find(&shard); found != found_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
    return recent_.front().second;
  }
  recent_.emplace_front(&shard, std::make_shared<OpenFile>(shard.path, random_));
  found_[&shard] = recent_.begin();
  if (recent_.size() > max_open_) {
    found_.erase(recent_.back().first);
    recent_.pop_back();  // closed once nobody reads from it any more
  }
  return recent_.front().second;
}

void RowReader::read(std::vector<RowRequest>& requests) {
  std::sort(requests.begin(), requests.end(), [](const RowRequest& a, const RowRequest& b) {
    return std::make_tuple(a.shard, place(a)) < std::make_tuple(b.shard, place(b));
  });
  std::shared_ptr<OpenFile> file;
  for (std::size_t begin = 0; begin < requests.size();) {
    if (begin == 0 || requests[begin].shard != requests[begin - 1].shard) file = open(*requests[begin].shard);
    std::size_t end = begin + 1;
    while (end < requests.size() && end - begin < kMaxVector &&
           requests[end].shard == requests[begin].shard &&
           place(requests[end]) == place(requests[end - 1]) + requests[end - 1].table->row_bytes)
      ++end;
    read_vector(file->fd, &requests[begin], end - begin);
    for (std::size_t i = begin; i < end; ++i) check_row(requests[i]);
    begin = end;
  }
}

}  // namespace microdit::stream

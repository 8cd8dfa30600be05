// Writing of one rank's safetensors file, with the hash of every part.
#include "checkpoint/shard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/safetensors.h"

namespace microdit::checkpoint {
namespace {

using Bytes = std::span<const std::byte>;

/// An output file that hashes what it is given, in pieces that are still in the cache when they are written.
class HashedFile {
 public:
  explicit HashedFile(const std::filesystem::path& path) : path_(path) {
    fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0) fail("create");
  }
  ~HashedFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  HashedFile(const HashedFile&) = delete;
  HashedFile& operator=(const HashedFile&) = delete;

  void write(Bytes bytes) {
    constexpr std::size_t kPiece = std::size_t{1} << 20;
    while (!bytes.empty()) {
      const Bytes piece = bytes.first(std::min(kPiece, bytes.size()));
      sha256_.update(piece);
      if (!core::write_all(fd_, piece)) fail("write");
      bytes_ += piece.size();
      bytes = bytes.subspan(piece.size());
    }
  }
  void close() {
    if (::fsync(fd_) != 0) fail("sync");
    const int fd = fd_;
    fd_ = -1;
    if (::close(fd) != 0) fail("close");
  }
  std::uint64_t bytes() const { return bytes_; }
  std::string sha256() { return sha256_.hex_digest(); }

 private:
  [[noreturn]] void fail(const char* what) const {
    core::errno_error(errno, "{}: cannot {}", path_.string(), what);
  }

  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t bytes_ = 0;
  core::Sha256 sha256_;
};

/// Hashes every part and gives its view; what the manifest says of it goes to `shard`.
std::vector<core::TensorView> describe(const std::vector<Part>& parts, Shard& shard) {
  std::vector<core::TensorView> views;
  for (const Part& part : parts) {
    TensorEntry& entry = shard.tensors[part.name];
    if (entry.parts.empty()) entry.shape = part.shape;
    const auto count = static_cast<std::int64_t>(part.values.size());
    if (count == 0) continue;
    const Bytes bytes = std::as_bytes(part.values.span());
    entry.parts.push_back({shard.file.file, part.begin, count, core::hex(core::xxh3_64(bytes))});
    views.push_back({part_name(part.name, part.begin), core::DType::f32, {count}, bytes});
  }
  return views;
}

}  // namespace

std::string shard_name(int rank, int size) {
  return fmt::format("shard_{:05d}_of_{:05d}.safetensors", rank, size);
}

Shard write_shard(const std::filesystem::path& folder, const std::string& file,
                  const std::vector<Part>& parts) {
  Shard shard;
  shard.file.file = file;
  const std::vector<core::TensorView> views = describe(parts, shard);
  const core::SafetensorsLayout layout = core::safetensors_layout(views);
  const Bytes header = std::as_bytes(std::span(layout.header.data(), layout.header.size()));
  shard.file.header_bytes = header.size();
  shard.file.header_xxh3 = core::hex(core::xxh3_64(header));

  HashedFile out(folder / file);
  out.write(header);
  for (const std::size_t index : layout.order) out.write(views[index].bytes);
  out.close();  // the folder is synced once, when rank 0 publishes
  shard.file.bytes = out.bytes();
  shard.file.sha256 = out.sha256();
  return shard;
}

void check_on_disk(const std::filesystem::path& folder, const FileEntry& file) {
  const std::filesystem::path path = folder / file.file;
  const auto header = read_head(path, file.header_bytes);  // opening it first makes NFS look again
  if (!header) core::system_error("{}: is gone; it was written a moment ago", path.string());
  std::error_code error;
  const std::uint64_t bytes = std::filesystem::file_size(path, error);
  if (error || bytes != file.bytes) {
    core::system_error("{}: {} bytes on disk, {} were written", path.string(), error ? 0 : bytes, file.bytes);
  }
  if (core::hex(core::xxh3_64(std::as_bytes(std::span(header->data(), header->size())))) !=
      file.header_xxh3) {
    core::system_error("{}: the header on disk is not what was written", path.string());
  }
}

std::optional<std::string> read_head(const std::filesystem::path& path, std::uint64_t count) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    if (errno == EACCES) core::user_error("{}: cannot open: {}", path.string(), std::strerror(errno));
    core::errno_error(errno, "{}: cannot open", path.string());
  }
  std::string head;
  ssize_t got = 1;
  while (head.size() < count && got != 0) {
    std::array<char, 1 << 16> piece;
    got = ::read(fd, piece.data(), std::min<std::uint64_t>(piece.size(), count - head.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      ::close(fd);
      core::errno_error(error, "{}: cannot read", path.string());
    }
    head.append(piece.data(), static_cast<std::size_t>(got));
  }
  ::close(fd);
  return head;
}

}  // namespace microdit::checkpoint

// zlib, because libarchive reads past wrong checksums of gzip.
#include "ingest/gzip_stream.h"

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "core/error.h"
#include "ingest/archive_kind.h"

namespace microdit::ingest {
namespace {

constexpr std::size_t kBlock = 1 << 18, kTail = 512;
constexpr int kGzipOnly = 15 + 16;  // window bits, in zlib's way of asking for gzip's header and checksum

}  // namespace

struct GzipStream::Inflater {
  int file;
  const std::string& name;
  std::uint64_t allowed, total = 0;
  z_stream zlib{};
  std::vector<Bytef> in = std::vector<Bytef>(kBlock), out = std::vector<Bytef>(kBlock);
  std::string tail{};
  bool between = false;  ///< one gzip member has ended, no other has begun

  /// False at the end of the file.
  bool fill() {
    if (zlib.avail_in > 0) return true;
    ssize_t got = 0;
    do got = ::read(file, in.data(), in.size());
    while (got < 0 && errno == EINTR);
    if (got < 0) core::errno_error(errno, "{}: cannot be read", name);
    zlib.next_in = in.data();
    zlib.avail_in = static_cast<uInt>(got);
    return got > 0;
  }

  /// Zeros behind the last member are padding. False at the end.
  bool begin_another() {
    for (bool zeros = true; fill();) {
      while (zeros && zlib.avail_in > 0 && *zlib.next_in == 0) ++zlib.next_in, --zlib.avail_in;
      if (zlib.avail_in == 0) continue;
      if (inflateReset(&zlib) != Z_OK) throw std::bad_alloc();
      return true;
    }
    return false;
  }

  /// The number of new bytes in `out`; 0 at the end.
  std::size_t step() {
    zlib.next_out = out.data();
    zlib.avail_out = static_cast<uInt>(out.size());
    while (zlib.avail_out == out.size()) {
      if (between && !begin_another()) return 0;
      between = false;
      if (!fill()) refuse_damaged(name, "gzip: the file is truncated");
      const int status = inflate(&zlib, Z_NO_FLUSH);
      if (status == Z_MEM_ERROR) throw std::bad_alloc();
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
        refuse_damaged(name, fmt::format("gzip: {}", zlib.msg ? zlib.msg : "broken data"));
      between = status == Z_STREAM_END;
    }
    return out.size() - zlib.avail_out;
  }
};

GzipStream::GzipStream(int file, const std::string& name, std::uint64_t allowed)
    : inflater_(new Inflater{.file = file, .name = name, .allowed = allowed}) {
  if (inflateInit2(&inflater_->zlib, kGzipOnly) != Z_OK) throw std::bad_alloc();
}

GzipStream::~GzipStream() {
  inflateEnd(&inflater_->zlib);
}

std::span<const std::byte> GzipStream::next() {
  Inflater& self = *inflater_;
  const std::size_t size = self.step();
  self.total += size;
  if (self.total > self.allowed) refuse_bomb(self.name, self.allowed);
  const auto* data = reinterpret_cast<const char*>(self.out.data());
  self.tail.append(data + (size > kTail ? size - kTail : 0), std::min(size, kTail));
  if (self.tail.size() > kTail) self.tail.erase(0, self.tail.size() - kTail);
  return std::as_bytes(std::span(self.out).first(size));
}

bool GzipStream::ends_in_zeros() const {
  const std::string& tail = inflater_->tail;
  return tail.size() == kTail && tail.find_first_not_of('\0') == std::string::npos;
}

void refuse_bomb(const std::string& file, std::uint64_t allowed) {
  core::user_error("{}: expands to more than {} bytes: refused as a decompression bomb", file, allowed);
}

}  // namespace microdit::ingest

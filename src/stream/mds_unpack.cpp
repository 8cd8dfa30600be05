// zstd -> a plain shard file, never larger than stated.
#include <zstd.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/named_hash.h"
#include "stream/mds_shard.h"

namespace microdit::stream {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void damaged(const fs::path& path, const std::string& what) {
  core::user_error("{}: {}; the file is damaged or of another folder: copy it here again", path.string(),
                   what);
}

struct FreeStream {
  void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
};

void check_hashes(const fs::path& path, std::vector<core::NamedHash>& sums, const MdsFile& stated) {
  for (std::size_t i = 0; i < sums.size(); ++i)
    if (const std::string found = sums[i].hex_digest(); found != stated.hashes[i].second)
      damaged(path, fmt::format("its {} is {}, index.json says {}", stated.hashes[i].first, found,
                                stated.hashes[i].second));
}

}  // namespace

void unpack_mds_shard(const fs::path& zipped, const MdsFile& stated, const MdsFile& raw, const fs::path& to,
                      bool verify) {
  const OpenFile file(zipped, false);
  if (const std::uint64_t bytes = fs::file_size(zipped); bytes != stated.bytes)
    damaged(zipped, fmt::format("has {} bytes, index.json says {}", bytes, stated.bytes));
  std::vector<core::NamedHash> sums;
  if (verify)
    for (const auto& [algorithm, hex] : stated.hashes) sums.emplace_back(algorithm);
  const std::unique_ptr<ZSTD_DStream, FreeStream> stream(ZSTD_createDStream());
  core::check(stream != nullptr, "zstd did not start");
  std::vector<std::byte> in(ZSTD_DStreamInSize()), out(ZSTD_DStreamOutSize());
  core::Aside aside(to);
  std::uint64_t written = 0;
  std::size_t expected = 1;  // 0 at a frame's end
  for (std::uint64_t at = 0; at < stated.bytes;) {
    const auto part = std::span(in).first(std::min<std::uint64_t>(in.size(), stated.bytes - at));
    file.read(at, part);
    at += part.size();
    for (core::NamedHash& sum : sums) sum.update(part);
    ZSTD_inBuffer from{part.data(), part.size(), 0};
    bool more = true;
    while (more) {
      ZSTD_outBuffer into{out.data(), out.size(), 0};
      expected = ZSTD_decompressStream(stream.get(), &into, &from);
      if (ZSTD_isError(expected))
        damaged(zipped, fmt::format("is not zstd: {}", ZSTD_getErrorName(expected)));
      written += into.pos;
      if (written > raw.bytes)
        damaged(zipped, fmt::format("unpacks to more than the stated {} bytes", raw.bytes));
      aside.write(std::span(out).first(into.pos));
      more = from.pos < from.size || into.pos == into.size;
    }
  }
  if (expected != 0 || written != raw.bytes)
    damaged(zipped, fmt::format("unpacks to {} bytes, index.json says {}", written, raw.bytes));
  check_hashes(zipped, sums, stated);
  aside.publish();
}

}  // namespace microdit::stream

// Chunks are walked, checked and inflated in one call; whatever is not as it should be is left to libpng.
#include "image/png_inflate.h"

#include <libdeflate.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "image/formats.h"

namespace microdit::image {
namespace {

constexpr std::size_t kHeaderData = 13, kAroundData = 12;  // the latter: length, type and CRC of a chunk
constexpr std::uint64_t kMaxFiltered = 64U << 20U;  // more is unpacked row by row, so that it is never held
constexpr std::size_t kMaxStored = 65535;           // bytes of one stored block
constexpr std::size_t kChecksumBytes = 8;           // of the zlib stream and of the chunk
constexpr std::array<std::byte, kChecksumBytes> kNoChecksum{};

void put_big_endian(std::uint32_t value, std::byte* out) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<std::byte>(value >> (24 - 8 * i));
}

struct Chunk {
  std::size_t begin = 0;  ///< of its length field
  std::span<const std::byte> type_and_data{};
  bool is(const char* type) const { return std::memcmp(type_and_data.data(), type, 4) == 0; }
  bool critical() const { return (static_cast<std::uint8_t>(type_and_data[0]) & 0x20) == 0; }
  std::span<const std::byte> data() const { return type_and_data.subspan(4); }
  std::size_t end() const { return begin + 4 + type_and_data.size() + 4; }  ///< behind its checksum
};

/// Nothing where the file ends too early, or where the checksum of a chunk that counts is wrong.
std::optional<Chunk> chunk_at(Bytes bytes, std::size_t begin) {
  if (begin > bytes.size() || bytes.size() - begin < kAroundData) return std::nullopt;
  const std::uint64_t length = big_endian(&bytes[begin]);
  if (length > bytes.size() - begin - kAroundData) return std::nullopt;
  const Chunk chunk{begin, bytes.subspan(begin + 4, length + 4)};
  if (chunk.critical() && libdeflate_crc32(0, chunk.type_and_data.data(), chunk.type_and_data.size()) !=
                              big_endian(&bytes[begin + 8 + length]))
    return std::nullopt;
  return chunk;
}

/// Bytes of all filtered rows; 0 where the header is none that is read here.
std::uint64_t filtered_bytes(Bytes header, const DecodeRules& rules) {
  const std::uint64_t width = big_endian(&header[0]), height = big_endian(&header[4]);
  const auto depth = static_cast<unsigned>(header[8]), colour = static_cast<unsigned>(header[9]);
  constexpr std::array<unsigned, 7> kChannels = {1, 0, 3, 1, 2, 0, 4};
  const auto max_side = static_cast<std::uint64_t>(std::max<std::int64_t>(rules.max_side, 0));
  if (width == 0 || height == 0 || width > max_side || height > max_side || depth == 0 || depth > 16 ||
      colour >= kChannels.size() || header[12] != std::byte{0})  // interlaced ones are few
    return 0;
  return ((width * depth * kChannels[colour] + 7) / 8 + 1) * height;
}

}  // namespace

StoredPng unpack_png(Bytes bytes, const DecodeRules& rules) {
  StoredPng out{};
  const auto header = chunk_at(bytes, kPngSignatureBytes);
  if (!header || !header->is("IHDR") || header->data().size() != kHeaderData) return out;
  const std::uint64_t filtered = filtered_bytes(header->data(), rules);
  if (filtered == 0 || filtered > kMaxFiltered || filtered / kMaxDeflateRatio > bytes.size()) return out;

  auto chunk = chunk_at(bytes, header->end());
  while (chunk && !chunk->is("IDAT")) chunk = chunk_at(bytes, chunk->end());
  if (!chunk) return out;
  const std::size_t pixels_begin = chunk->begin;
  std::span<const std::byte> packed = chunk->data();
  std::vector<std::byte> joined;
  while ((chunk = chunk_at(bytes, chunk->end())) && chunk->is("IDAT")) {
    if (joined.empty()) joined.assign(packed.begin(), packed.end());
    joined.insert(joined.end(), chunk->data().begin(), chunk->data().end());
    packed = joined;
  }
  if (!chunk) return out;

  const std::unique_ptr<libdeflate_decompressor, void (*)(libdeflate_decompressor*)> inflater(
      libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
  out.filtered.resize(filtered);
  if (!inflater ||
      libdeflate_zlib_decompress(inflater.get(), packed.data(), packed.size(), out.filtered.data(),
                                 out.filtered.size(), nullptr) != LIBDEFLATE_SUCCESS)
    return out;

  const std::size_t blocks = (filtered + kMaxStored - 1) / kMaxStored;
  out.headers.resize(blocks);
  put_big_endian(static_cast<std::uint32_t>(2 + 5 * blocks + filtered + 4), out.begin.data());
  std::memcpy(&out.begin[4], "IDAT\x78\x01", 6);
  out.pieces = {bytes.first(pixels_begin), out.begin};
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t first = block * kMaxStored, count = std::min(kMaxStored, filtered - first);
    out.headers[block] = {std::byte{block + 1 == blocks}, static_cast<std::byte>(count),
                          static_cast<std::byte>(count >> 8), static_cast<std::byte>(~count),
                          static_cast<std::byte>(~count >> 8)};
    out.pieces.emplace_back(out.headers[block]);
    out.pieces.push_back(std::span(out.filtered).subspan(first, count));
  }
  out.pieces.emplace_back(kNoChecksum);
  return out;
}

}  // namespace microdit::image

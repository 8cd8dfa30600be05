// A PNG's pixel data unpacked by libdeflate, which takes half of zlib's time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "image/decode.h"

namespace microdit::image {

constexpr std::size_t kPngSignatureBytes = 8;
/// Deflate never shrinks more than about 1032 times: fewer bytes cannot fill the picture.
constexpr std::int64_t kMaxDeflateRatio = 1100;

inline std::uint32_t big_endian(const std::byte* p) {
  const auto at = [&](int i) { return static_cast<std::uint32_t>(p[i]); };
  return at(0) << 24 | at(1) << 16 | at(2) << 8 | at(3);
}

/// A PNG whose pixel data are one IDAT chunk of stored blocks (RFC 1951, 3.2.4), which libpng unpacks at the speed of a copy.
/// Without CRCs and checksum of its own: unpack() has checked those of the file.
struct StoredPng {
  std::vector<std::span<const std::byte>> pieces;  ///< of the file; into its bytes, `filtered` and `headers`
  std::vector<std::byte> filtered;                 ///< the pixels' rows as the filters left them
  std::vector<std::array<std::byte, 5>> headers;   ///< of the blocks
  std::array<std::byte, 10> begin;                 ///< of the chunk and its zlib stream
};

/// Empty `pieces` where libpng had better read the file itself: it is large, unusual or damaged, and libpng says how.
StoredPng unpack_png(std::span<const std::byte> bytes, const DecodeRules& rules);

}  // namespace microdit::image

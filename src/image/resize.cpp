// Pillow's bicubic resize (version 13), bit for bit; one kernel serves both passes.
#include "image/resize.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/error.h"
#include "image/resize_taps.h"

namespace microdit::image {
namespace {

constexpr std::int64_t kRows = 16;          // rows that the horizontal pass handles side by side
constexpr std::int64_t kLanes = kRows * 3;  // bytes that the kernel handles side by side

/// One strip of kLanes bytes: out[i] = clip(sum of weights * source[first - origin + k]).
struct Strip {
  const std::uint8_t* source = nullptr;
  std::int64_t source_stride = 0;
  std::int64_t origin = 0;  ///< the source position that `source` points at
  std::uint8_t* out = nullptr;
  std::int64_t out_stride = 0;
};

// The loops over lanes have a fixed length, so that the compiler keeps the sums in vector registers.
void weigh_portable(const Taps& taps, const Strip& strip) {
  for (std::size_t i = 0; i < taps.first.size(); ++i) {
    std::int32_t sums[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] = 1 << (kPrecisionBits - 1);
    const std::int32_t* weights = taps.weights.data() + static_cast<std::int64_t>(i) * taps.window;
    const std::uint8_t* source = strip.source + (taps.first[i] - strip.origin) * strip.source_stride;
    for (std::int64_t k = 0; k < taps.count[i]; ++k, source += strip.source_stride) {
      const std::int32_t weight = weights[k];
      for (int lane = 0; lane < kLanes; ++lane) sums[lane] += weight * source[lane];
    }
    std::uint8_t* out = strip.out + static_cast<std::int64_t>(i) * strip.out_stride;
    for (int lane = 0; lane < kLanes; ++lane) {
      out[lane] = static_cast<std::uint8_t>(std::clamp(sums[lane] >> kPrecisionBits, 0, 255));
    }
  }
}

#if defined(__x86_64__)
/// 16 bytes of one output position.
[[gnu::target("avx2")]] void weigh_16(const std::uint8_t* source, std::int64_t stride, std::int64_t count,
                                      const std::uint32_t* high, const std::uint32_t* low,
                                      std::uint8_t* out) {
  __m256i high_a = _mm256_setzero_si256(), high_b = high_a;
  __m256i low_a = _mm256_set1_epi32(1 << (kPrecisionBits - 1)), low_b = low_a;
  for (std::int64_t k = 0; k < count; k += 2, source += 2 * stride) {
    const __m128i one = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
    const __m128i two = k + 1 < count ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + stride))
                                      : _mm_setzero_si128();
    const __m256i a = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(one, two));
    const __m256i b = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(one, two));
    const __m256i weight_high = _mm256_set1_epi32(static_cast<int>(high[k / 2]));
    const __m256i weight_low = _mm256_set1_epi32(static_cast<int>(low[k / 2]));
    high_a = _mm256_add_epi32(high_a, _mm256_madd_epi16(a, weight_high));
    high_b = _mm256_add_epi32(high_b, _mm256_madd_epi16(b, weight_high));
    low_a = _mm256_add_epi32(low_a, _mm256_madd_epi16(a, weight_low));
    low_b = _mm256_add_epi32(low_b, _mm256_madd_epi16(b, weight_low));
  }
  const __m256i sum_a = _mm256_add_epi32(_mm256_slli_epi32(high_a, kSplitBits), low_a);
  const __m256i sum_b = _mm256_add_epi32(_mm256_slli_epi32(high_b, kSplitBits), low_b);
  const __m256i words = _mm256_permute4x64_epi64(
      _mm256_packs_epi32(_mm256_srai_epi32(sum_a, kPrecisionBits), _mm256_srai_epi32(sum_b, kPrecisionBits)),
      0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                   _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

[[gnu::target("avx2")]] void weigh_avx2(const Taps& taps, const Strip& strip) {
  for (std::size_t i = 0; i < taps.first.size(); ++i) {
    const std::uint8_t* source = strip.source + (taps.first[i] - strip.origin) * strip.source_stride;
    std::uint8_t* out = strip.out + static_cast<std::int64_t>(i) * strip.out_stride;
    const std::size_t at = i * static_cast<std::size_t>(taps.pairs);
    for (std::int64_t lane = 0; lane < kLanes; lane += 16) {
      weigh_16(source + lane, strip.source_stride, taps.count[i], taps.high.data() + at, taps.low.data() + at,
               out + lane);
    }
  }
}

void weigh(const Taps& taps, const Strip& strip) {
  static const bool wide = __builtin_cpu_supports("avx2") != 0;
  wide ? weigh_avx2(taps, strip) : weigh_portable(taps, strip);
}
#else
void weigh(const Taps& taps, const Strip& strip) {
  weigh_portable(taps, strip);
}
#endif

/// Rows of bytes, each padded to whole strips.
struct PaddedRows {
  std::int64_t stride = 0;
  std::vector<std::uint8_t> bytes;

  PaddedRows() = default;
  PaddedRows(std::int64_t rows, std::int64_t row_bytes)
      : stride((row_bytes + kLanes - 1) / kLanes * kLanes), bytes(static_cast<std::size_t>(rows * stride)) {}
  std::uint8_t* row(std::int64_t y) { return bytes.data() + y * stride; }
};

/// kRows rows are turned into columns [x][channel][row], weighed, and turned back.
void weigh_row_block(const std::uint8_t* const* lines, Span columns, const Taps& taps,
                     std::uint8_t* const* targets) {
  thread_local std::vector<std::uint8_t> turned;
  thread_local std::vector<std::uint8_t> weighed;
  turned.resize(static_cast<std::size_t>(columns.count * kLanes));
  weighed.resize(taps.first.size() * kLanes);
  for (std::int64_t x = 0; x < columns.count; ++x) {
    std::uint8_t* lanes = turned.data() + x * kLanes;
    for (std::int64_t r = 0; r < kRows; ++r) {
      for (std::int64_t c = 0; c < 3; ++c) lanes[c * kRows + r] = lines[r][x * 3 + c];
    }
  }
  weigh(taps, {turned.data(), kLanes, columns.first, weighed.data(), kLanes});
  for (std::int64_t r = 0; r < kRows && targets[r] != nullptr; ++r) {
    const std::uint8_t* lanes = weighed.data() + r;
    std::uint8_t* out = targets[r];
    for (std::size_t x = 0; x < taps.first.size(); ++x, lanes += kLanes, out += 3) {
      for (std::int64_t c = 0; c < 3; ++c) out[c] = lanes[c * kRows];
    }
  }
}

/// Every row at its new width. `first` is the pixel of column columns.first in the first row.
PaddedRows weigh_rows(const std::uint8_t* first, std::int64_t stride, Span columns, std::int64_t num_rows,
                      const Taps& taps) {
  PaddedRows result(num_rows, std::ssize(taps.first) * 3);
  for (std::int64_t y = 0; y < num_rows; y += kRows) {
    const std::uint8_t* lines[kRows];
    std::uint8_t* targets[kRows] = {};
    for (std::int64_t r = 0; r < kRows; ++r) {
      lines[r] = first + std::min(y + r, num_rows - 1) * stride;  // the last block repeats the last row
      if (y + r < num_rows) targets[r] = result.row(y + r);
    }
    weigh_row_block(lines, columns, taps, targets);
  }
  return result;
}

/// Every column at its new height. The first row of `source` is row rows.first.
PaddedRows weigh_columns(const PaddedRows& source, Span rows, const Taps& taps) {
  PaddedRows result(std::ssize(taps.first), source.stride);
  for (std::int64_t lane = 0; lane < source.stride; lane += kLanes) {
    weigh(taps,
          {source.bytes.data() + lane, source.stride, rows.first, result.bytes.data() + lane, result.stride});
  }
  return result;
}

PaddedRows copy_part(const Image& source, Span columns, Span rows) {
  PaddedRows part(rows.count, columns.count * 3);
  for (std::int64_t y = 0; y < rows.count; ++y) {
    std::memcpy(part.row(y), source.row(rows.first + y) + columns.first * 3,
                static_cast<std::size_t>(columns.count * 3));
  }
  return part;
}

/// Pillow 13 resizes vertically first when that removes over twice as many rows as columns; both passes
/// round, so the order shows in the pixels.
bool is_vertical_first(const Image& source, std::int64_t width, std::int64_t height) {
  return height < source.height && (source.width - width) * 2 < source.height - height;
}

/// The part `columns` x `rows` of the source resized to width x height; no other pixel is computed. A pass
/// that would change no size is left out, as in Pillow.
Image resize_part(const Image& source, std::int64_t width, std::int64_t height, Span columns, Span rows) {
  core::check(source.width > 0 && source.height > 0 && width > 0 && height > 0,
              "resize of {} x {} to {} x {}", source.width, source.height, width, height);
  const bool across = width != source.width;
  const bool down = height != source.height;
  const Taps column_taps = across ? make_taps(source.width, width, columns) : Taps{};
  const Taps row_taps = down ? make_taps(source.height, height, rows) : Taps{};
  const Span from_columns = across ? column_taps.source() : columns;
  const Span from_rows = down ? row_taps.source() : rows;

  PaddedRows result;
  if (!across || is_vertical_first(source, width, height)) {
    result = copy_part(source, from_columns, from_rows);
    if (down) result = weigh_columns(result, from_rows, row_taps);
    if (across) result = weigh_rows(result.row(0), result.stride, from_columns, rows.count, column_taps);
  } else {
    const std::uint8_t* first = source.row(from_rows.first) + from_columns.first * 3;
    result = weigh_rows(first, source.width * 3, from_columns, from_rows.count, column_taps);
    if (down) result = weigh_columns(result, from_rows, row_taps);
  }
  Image image(rows.count, columns.count);
  for (std::int64_t y = 0; y < rows.count; ++y) {
    std::memcpy(image.row(y), result.row(y), static_cast<std::size_t>(columns.count * 3));
  }
  return image;
}

/// int(round(slack / 2.0)) with Python's round: halves go to the even neighbour.
std::int64_t center_offset(std::int64_t slack) {
  const std::int64_t half = slack / 2;
  return slack % 2 == 0 ? half : half + half % 2;
}

}  // namespace

Image resize_bicubic(const Image& source, std::int64_t width, std::int64_t height) {
  return resize_part(source, width, height, {0, width}, {0, height});
}

Image resize_and_center_crop(const Image& source, std::int64_t size) {
  core::check(source.width > 0 && source.height > 0 && size > 0, "crop of {} x {} to {}", source.width,
              source.height, size);
  const bool wide = source.width >= source.height;
  const std::int64_t shorter = wide ? source.height : source.width;
  const std::int64_t longer = (wide ? source.width : source.height) * size / shorter;
  const Span middle{center_offset(longer - size), size};
  return wide ? resize_part(source, longer, size, middle, {0, size})
              : resize_part(source, size, longer, {0, size}, middle);
}

}  // namespace microdit::image

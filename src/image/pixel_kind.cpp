// Pixel kinds from the first bytes of each format, as Pillow names modes when it opens a file.
#include <webp/decode.h>

#include <algorithm>
#include <optional>

#include "image/decode.h"
#include "image/formats.h"

namespace microdit::image {
namespace {

std::uint32_t little(const std::uint8_t* at, int bytes) {
  std::uint32_t value = 0;
  for (int i = bytes - 1; i >= 0; --i) value = value << 8 | at[i];
  return value;
}

/// Entry i is (i, i, i), each `step` bytes long.
bool is_grey_ramp(std::span<const std::uint8_t> palette, std::size_t step) {
  for (std::size_t i = 0; i * step + 2 < palette.size(); ++i)
    for (std::size_t c = 0; c < 3; ++c)
      if (palette[i * step + c] != i) return false;
  return true;
}

PixelKind kind_of_png(std::span<const std::uint8_t> data) {
  constexpr std::size_t kDepth = 24, kColour = 25;  // in the header chunk, which comes first
  if (data.size() <= kColour) return PixelKind::plain;
  const int depth = data[kDepth], colour = data[kColour];
  if (colour == 3) return PixelKind::palette;
  if (colour == 4 || colour == 6) return PixelKind::alpha;
  return colour == 0 && depth == 16 ? PixelKind::deep : PixelKind::plain;
}

PixelKind kind_of_webp(Bytes bytes) {
  WebPBitstreamFeatures features;
  const bool known = WebPGetFeatures(data_of(bytes), bytes.size(), &features) == VP8_STATUS_OK;
  return known && features.has_alpha ? PixelKind::alpha : PixelKind::plain;
}

/// The first picture's own palette counts where it has one, else that of all.
PixelKind kind_of_gif(std::span<const std::uint8_t> data) {
  constexpr std::size_t kHeader = 13, kImage = 10;
  if (data.size() < kHeader) return PixelKind::plain;
  const auto palette_at = [&](std::size_t at,
                              std::uint8_t flags) -> std::optional<std::span<const std::uint8_t>> {
    if (!(flags & 0x80)) return std::nullopt;
    const std::size_t bytes = 3u << ((flags & 7) + 1);
    return data.subspan(std::min(at, data.size()), std::min(bytes, data.size() - std::min(at, data.size())));
  };
  std::optional<std::span<const std::uint8_t>> palette = palette_at(kHeader, data[10]);
  std::size_t at = kHeader + (palette ? palette->size() : 0);
  while (at + 1 < data.size() && data[at] == 0x21) {  // extensions
    at += 2;
    while (at < data.size() && data[at] != 0) at += 1 + data[at];
    ++at;
  }
  if (at + kImage <= data.size() && data[at] == 0x2c)
    if (const auto own = palette_at(at + kImage, data[at + 9])) palette = own;
  return palette && !is_grey_ramp(*palette, 3) ? PixelKind::palette : PixelKind::plain;
}

PixelKind kind_of_bmp(std::span<const std::uint8_t> data) {
  constexpr std::size_t kFileHeader = 14;
  if (data.size() < kFileHeader + 12) return PixelKind::plain;
  const std::uint32_t header = little(&data[kFileHeader], 4);
  const bool old = header == 12;
  const std::size_t depth_at = kFileHeader + (old ? 10 : 14);
  if (data.size() < depth_at + 2) return PixelKind::plain;
  const std::uint32_t depth = little(&data[depth_at], 2);
  if (depth > 8) {
    // 32 bits with a mask of alpha.
    const bool masks =
        !old && data.size() >= kFileHeader + 56 && little(&data[kFileHeader + 16], 4) == 3 && header >= 56;
    return depth == 32 && masks && little(&data[kFileHeader + 52], 4) != 0 ? PixelKind::alpha
                                                                           : PixelKind::plain;
  }
  std::uint32_t colours = old || data.size() < kFileHeader + 36 ? 0 : little(&data[kFileHeader + 32], 4);
  if (colours == 0 || colours > 256) colours = 1u << depth;
  const std::size_t step = old ? 3 : 4, begin = kFileHeader + header;
  if (data.size() < begin + colours * step) return PixelKind::plain;
  const auto palette = data.subspan(begin, colours * step);
  if (colours == 2) {
    const bool black_white =
        std::all_of(palette.begin(), palette.begin() + 3, [](auto v) { return v == 0; }) &&
        std::all_of(palette.begin() + static_cast<std::ptrdiff_t>(step),
                    palette.begin() + static_cast<std::ptrdiff_t>(step) + 3, [](auto v) { return v == 255; });
    return black_white ? PixelKind::plain : PixelKind::palette;
  }
  return is_grey_ramp(palette, step) ? PixelKind::plain : PixelKind::palette;
}

/// A number of a TIFF's first directory; nothing where its tag is not there or holds several.
struct TiffTags {
  std::uint32_t photometric = 0, bits = 1, samples = 1, extra = 0;
  bool has_extra = false;
};

TiffTags tiff_tags(std::span<const std::uint8_t> data) {
  TiffTags tags;
  const bool big = data[0] == 'M';
  const auto number = [&](std::size_t at, int bytes) -> std::uint32_t {
    if (at + static_cast<std::size_t>(bytes) > data.size()) return 0;
    std::uint32_t value = 0;
    for (int i = 0; i < bytes; ++i)
      value = value << 8 | data[at + static_cast<std::size_t>(big ? i : bytes - 1 - i)];
    return value;
  };
  const std::size_t begin = number(4, 4);
  const std::uint32_t count = number(begin, 2);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::size_t at = begin + 2 + 12 * std::size_t{i};
    if (at + 12 > data.size()) break;
    const std::uint32_t tag = number(at, 2), many = number(at + 4, 4);
    const std::uint32_t value = many > 2 ? number(number(at + 8, 4), 2) : number(at + 8, 2);
    if (tag == 258) tags.bits = value;
    if (tag == 262) tags.photometric = value;
    if (tag == 277) tags.samples = value;
    if (tag == 338) tags.extra = value, tags.has_extra = true;
  }
  return tags;
}

PixelKind kind_of_tiff(std::span<const std::uint8_t> data) {
  constexpr std::uint32_t kRgb = 2, kPalette = 3;
  const TiffTags tags = tiff_tags(data);
  if (tags.photometric == kPalette) return tags.samples > 1 ? PixelKind::alpha : PixelKind::palette;
  const bool grey = tags.photometric < kRgb;
  if (grey && tags.samples == 2) return PixelKind::alpha;
  if (tags.photometric == kRgb && tags.samples == 4 && tags.has_extra && tags.extra != 0)
    return PixelKind::alpha;
  return (grey && tags.bits > 8) || tags.bits > 16 ? PixelKind::deep : PixelKind::plain;
}

}  // namespace

PixelKind pixel_kind(std::span<const std::byte> bytes) {
  const std::span<const std::uint8_t> data(data_of(bytes), bytes.size());
  switch (probe_image(bytes).format) {
    case Format::png:
      return kind_of_png(data);
    case Format::webp:
      return kind_of_webp(bytes);
    case Format::gif:
      return kind_of_gif(data);
    case Format::bmp:
      return kind_of_bmp(data);
    case Format::tiff:
      return kind_of_tiff(data);
    default:
      return PixelKind::plain;
  }
}

}  // namespace microdit::image

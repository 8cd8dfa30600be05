// Recognises the format, checks the limits, and hands over to the format's own file.
#include "image/decode.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/formats.h"

namespace microdit::image {

void check_limits(const ImageInfo& info, const DecodeRules& rules) {
  if (info.width < 1 || info.height < 1) {
    throw BadImage(fmt::format("the picture is empty ({} x {})", info.width, info.height),
                   BadImage::Why::no_header);
  }
  if (info.width > rules.max_side || info.height > rules.max_side) {
    throw BadImage(
        fmt::format("{} x {} is over the limit of {} pixels a side", info.width, info.height, rules.max_side),
        BadImage::Why::too_large);
  }
  if (info.width > rules.max_pixels / info.height) {
    throw BadImage(
        fmt::format("{} x {} is over the limit of {} pixels", info.width, info.height, rules.max_pixels),
        BadImage::Why::too_large);
  }
}

void compose_on_white(const std::uint8_t* rgba, std::uint8_t* rgb, std::int64_t width) {
  for (std::int64_t x = 0; x < width; ++x) {
    const unsigned alpha = rgba[4 * x + 3];
    for (int c = 0; c < 3; ++c) {
      const unsigned sum = rgba[4 * x + c] * alpha + 255U * (255U - alpha) + 128U;
      rgb[3 * x + c] = static_cast<std::uint8_t>(((sum >> 8U) + sum) >> 8U);  // round(sum / 255)
    }
  }
}

void put_alpha(const DecodeRules& rules, const std::uint8_t* rgba, std::uint8_t* rgb, std::int64_t width) {
  if (!rules.drop_alpha) return compose_on_white(rgba, rgb, width);
  for (std::int64_t x = 0; x < width; ++x) std::copy_n(rgba + 4 * x, 3, rgb + 3 * x);
}

/// Known with and without libtiff.
bool is_tiff(Bytes bytes) {
  const std::uint8_t* data = data_of(bytes);
  const auto starts = [&](const char* text) { return std::equal(data, data + 4, text); };
  return bytes.size() >= 8 && (starts("II*\0") || starts("MM\0*"));
}

ImageInfo probe_image(std::span<const std::byte> bytes) {
  if (is_png(bytes)) return probe_png(bytes);
  if (is_jpeg(bytes)) return probe_jpeg(bytes);
  if (is_webp(bytes)) return probe_webp(bytes);
  if (is_gif(bytes)) return probe_gif(bytes);
  if (is_bmp(bytes)) return probe_bmp(bytes);
  if (is_tiff(bytes)) return probe_tiff(bytes);
  throw BadImage("neither PNG, JPEG, WebP, GIF, BMP nor TIFF", BadImage::Why::unsupported);
}

bool has_several_frames(std::span<const std::byte> bytes) {
  switch (probe_image(bytes).format) {
    case Format::png:
      return png_has_frames(bytes);
    case Format::webp:
      return webp_has_frames(bytes);
    case Format::gif:
      return gif_has_frames(bytes);
    case Format::tiff:
      return tiff_has_frames(bytes);
    default:
      return false;
  }
}

/// What decode_* has not applied.
int orientation_left(Bytes bytes, Format format) {
  switch (format) {
    case Format::png:
      return orientation_of(png_metadata(bytes));
    case Format::jpeg:
      return orientation_of(jpeg_metadata(bytes));
    case Format::webp:
      return orientation_of(webp_metadata(bytes));
    default:
      return 1;
  }
}

Image decode_stored(Bytes bytes, Format format, const DecodeRules& rules, bool* damaged_inside) {
  switch (format) {
    case Format::png:
      return decode_png(bytes, rules);
    case Format::jpeg:
      return decode_jpeg(bytes, rules, damaged_inside);
    case Format::gif:
      return decode_gif(bytes, rules);
    case Format::bmp:
      return decode_bmp(bytes, rules);
    case Format::tiff:
      return decode_tiff(bytes, rules);
    default:
      return decode_webp(bytes, rules);
  }
}

/// PNG and JPEG know better how few bytes can fill a picture.
void check_spread(const ImageInfo& info, Bytes bytes, const DecodeRules& rules) {
  const std::int64_t pixels = info.width * info.height;
  if (rules.max_pixels_per_byte <= 0 || pixels <= kFreePixels || info.format == Format::png ||
      info.format == Format::jpeg || pixels / rules.max_pixels_per_byte <= std::ssize(bytes))
    return;
  throw BadImage(fmt::format("{} x {} pixels in {} bytes", info.width, info.height, bytes.size()),
                 BadImage::Why::too_large);
}

Image decode(std::span<const std::byte> bytes, const DecodeRules& rules, bool* damaged_inside) {
  if (damaged_inside) *damaged_inside = false;
  const ImageInfo info = probe_image(bytes);
  check_limits(info, rules);
  check_spread(info, bytes, rules);
  Image image = decode_stored(bytes, info.format, rules, damaged_inside);
  return rules.apply_exif ? turned(std::move(image), orientation_left(bytes, info.format)) : image;
}

}  // namespace microdit::image

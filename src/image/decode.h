// Foreign image bytes -> RGB. Limits are checked from the header, before any allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include "image/image.h"

namespace microdit::image {

enum class Format { png, jpeg, webp, gif, bmp, tiff, unknown };

struct ImageInfo {
  Format format = Format::unknown;
  std::int64_t width = 0;
  std::int64_t height = 0;
};

/// Thrown for bytes that are no acceptable picture; what() says which rule broke. Callers count it as a skip.
class BadImage : public std::runtime_error {
 public:
  enum class Why {
    damaged,      ///< truncated, inconsistent, corrupt
    no_header,    ///< a known format's first bytes, but no readable header
    unsupported,  ///< no format, or a kind of it, that is read here
    too_large     ///< over a limit of the rules
  };
  explicit BadImage(const std::string& what, Why why = Why::damaged) : std::runtime_error(what), why(why) {}
  Why why;
};

inline constexpr std::int64_t kFreePixels = std::int64_t{1} << 24;

struct DecodeRules {
  std::int64_t max_pixels = 178'956'970;  ///< Pillow refuses more
  std::int64_t max_side = 65'535;
  int max_scans = 100;                           ///< of a JPEG
  std::int64_t max_scan_pixels = 2'000'000'000;  ///< scans x pixels of a JPEG: its cost in time
  std::int64_t max_pixels_per_byte =
      0;                     ///< of pictures over kFreePixels; 0 = none: a few bytes may unpack for seconds
  bool drop_alpha = false;   ///< ignore alpha (as Pillow does) instead of composing it on white
  bool clip_grey16 = false;  ///< 16-bit grey: min(value, 255) (as Pillow does) instead of the high byte
  bool apply_exif =
      false;  ///< turn the picture as Pillow's ImageOps.exif_transpose does; a TIFF is turned anyway
};

/// Format and size from the header alone. BadImage when there is none.
ImageInfo probe_image(std::span<const std::byte> bytes);

/// What Pillow would call the picture's pixels by its header: alpha (RGBA, LA, PA), palette (P; a GIF or BMP whose palette is the ramp
/// of greys has none), deep (16-bit grey, 32-bit), else plain. BadImage as for probe_image.
enum class PixelKind { plain, alpha, palette, deep };
PixelKind pixel_kind(std::span<const std::byte> bytes);

/// Whether there are several: frames of GIF, WebP or PNG, pages of a TIFF. False for a file whose second one has not begun.
/// BadImage as for probe_image.
bool has_several_frames(std::span<const std::byte> bytes);

/// Decodes PNG, JPEG (libjpeg-turbo's accurate DCT as Pillow uses it; CMYK and grey converted), WebP, GIF, BMP and TIFF
/// to RGB: of several frames the first. Alpha, a palette's too, and 16-bit grey as the rules say.
/// `damaged_inside` (may be null): whether a JPEG's data were partly bad, so that parts of the picture are grey.
Image decode(std::span<const std::byte> bytes, const DecodeRules& rules = {}, bool* damaged_inside = nullptr);

}  // namespace microdit::image

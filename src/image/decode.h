// Foreign image bytes -> RGB. Limits are checked from the header, before any allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include "image/image.h"

namespace microdit::image {

enum class Format { png, jpeg, webp, unknown };

struct ImageInfo {
  Format format = Format::unknown;
  std::int64_t width = 0;
  std::int64_t height = 0;
};

/// Thrown for bytes that are no acceptable picture; what() says which rule broke. Callers count it as a skip.
class BadImage : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct DecodeLimits {
  std::int64_t max_pixels = 89'478'485;  ///< Pillow's warning limit
  std::int64_t max_side = 65'535;
};

/// Format and size from the header alone. BadImage when there is none.
ImageInfo probe_image(std::span<const std::byte> bytes);

/// Decodes PNG, JPEG (libjpeg-turbo's accurate DCT as Pillow uses it; CMYK and grey converted) and WebP to
/// RGB. Alpha, a palette's too, is composed on white (the original drops it). 16-bit PNG keeps its high byte.
Image decode(std::span<const std::byte> bytes, const DecodeLimits& limits = {});

}  // namespace microdit::image

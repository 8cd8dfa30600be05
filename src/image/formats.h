// The formats behind decode(): each reads its own header and its own pixels. decode() alone calls decode_*, and has checked the
// limits by what probe_* of the same format says; a decoder whose library reads the header anew checks again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "image/decode.h"
#include "image/exif.h"

namespace microdit::image {

using Bytes = std::span<const std::byte>;

inline const std::uint8_t* data_of(Bytes bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

/// Throws BadImage when the size breaks the limits.
void check_limits(const ImageInfo& info, const DecodeRules& rules);
/// One RGBA row on a white ground, with Pillow's rounding.
void compose_on_white(const std::uint8_t* rgba, std::uint8_t* rgb, std::int64_t width);

/// One RGBA row on white, or without its alpha, as the rules say.
void put_alpha(const DecodeRules& rules, const std::uint8_t* rgba, std::uint8_t* rgb, std::int64_t width);

bool is_png(Bytes bytes);
ImageInfo probe_png(Bytes bytes);
Image decode_png(Bytes bytes, const DecodeRules& rules);
Metadata png_metadata(Bytes bytes);
bool png_has_frames(Bytes bytes);

bool is_jpeg(Bytes bytes);
ImageInfo probe_jpeg(Bytes bytes);
Image decode_jpeg(Bytes bytes, const DecodeRules& rules, bool* damaged_inside);
Metadata jpeg_metadata(Bytes bytes);

bool is_webp(Bytes bytes);
ImageInfo probe_webp(Bytes bytes);
Image decode_webp(Bytes bytes, const DecodeRules& rules);
Metadata webp_metadata(Bytes bytes);
bool webp_has_frames(Bytes bytes);

bool is_gif(Bytes bytes);
ImageInfo probe_gif(Bytes bytes);
Image decode_gif(Bytes bytes, const DecodeRules& rules);
bool gif_has_frames(Bytes bytes);

bool is_bmp(Bytes bytes);
ImageInfo probe_bmp(Bytes bytes);
Image decode_bmp(Bytes bytes, const DecodeRules& rules);

bool is_tiff(Bytes bytes);
ImageInfo probe_tiff(Bytes bytes);
/// Turned as it says, as Pillow turns this one format when it opens it.
Image decode_tiff(Bytes bytes, const DecodeRules& rules);
bool tiff_has_frames(Bytes bytes);

}  // namespace microdit::image

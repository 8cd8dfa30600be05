// How a picture's metadata say it is to be turned, read as Pillow's ImageOps.exif_transpose reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "image/image.h"

namespace microdit::image {

/// The first directory of a TIFF, or of an EXIF block, which is one.
struct TiffDirectory {
  std::optional<double> orientation;  ///< 0 where its type is none of a number
  std::span<const std::byte> xmp;     ///< tag 700
  std::uint32_t begin = 0;            ///< its offset
  std::uint32_t next = 0;             ///< offset of the next one; 0 = none
};

/// Nothing where the bytes begin with no TIFF header. Tags that contradict themselves are passed over; behind one whose value
/// leaves the bytes none is read. Work is bounded: 65,535 tags of which no value but two is looked at.
std::optional<TiffDirectory> read_tiff_directory(std::span<const std::byte> bytes);

/// What a format carries.
struct Metadata {
  std::optional<std::vector<std::byte>> exif;  ///< with or without "Exif\0\0" before it
  std::vector<std::byte> xmp;                  ///< XML
};

/// 1 to 8, as EXIF counts: EXIF's orientation; where it has none that of XMP; 1 where there is neither, or where they are damaged.
int orientation_of(const Metadata& metadata);
int orientation_of(const TiffDirectory& directory);

/// The picture as it is to be shown when it was stored with that orientation.
Image turned(Image&& stored, int orientation);

}  // namespace microdit::image

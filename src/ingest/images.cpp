// Picture filters: header first, then size, then one full decode.
#include "ingest/images.h"

#include <algorithm>

#include "image/decode.h"

namespace microdit::ingest {

std::string check_picture(std::span<const std::byte> bytes, const FilterSection& filters, PictureSize& size) {
  try {
    const image::ImageInfo info = image::probe_image(bytes);
    size = {info.width, info.height};
  } catch (const image::BadImage&) {
    return "bad_header";
  }
  if (std::min(size.width, size.height) < filters.min_side) return "too_small";
  try {
    image::decode(bytes);
  } catch (const image::BadImage&) {
    return "undecodable";
  }
  return "";
}

}  // namespace microdit::ingest

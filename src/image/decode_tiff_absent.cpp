// Without libtiff a TIFF is known, and said to be of no use.
#include <algorithm>

#include "image/formats.h"

namespace microdit::image {

bool is_tiff(Bytes bytes) {
  const std::uint8_t* data = data_of(bytes);
  const auto starts = [&](const char* text) { return std::equal(data, data + 4, text); };
  return bytes.size() >= 8 && (starts("II*\0") || starts("MM\0*"));
}

ImageInfo probe_tiff(Bytes) {
  throw BadImage("TIFF: this build has no libtiff (package libtiff-dev)", BadImage::Why::unsupported);
}

Image decode_tiff(Bytes bytes, const DecodeRules&) {
  probe_tiff(bytes);
  return {};
}

}  // namespace microdit::image

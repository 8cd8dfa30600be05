// Without libtiff a TIFF is known, and said to be of no use.
#include "image/formats.h"

namespace microdit::image {

ImageInfo probe_tiff(Bytes) {
  throw BadImage("TIFF: this build has no libtiff (package libtiff-dev)", BadImage::Why::unsupported);
}

Image decode_tiff(Bytes bytes, const DecodeRules&) {
  probe_tiff(bytes);
  return {};
}

bool tiff_has_frames(Bytes) {
  return false;
}

}  // namespace microdit::image

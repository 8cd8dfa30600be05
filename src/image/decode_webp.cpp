// WebP (lossy, lossless, alpha on white) -> RGB through libwebp.
#include <webp/decode.h>

#include <algorithm>
#include <vector>

#include "image/formats.h"

namespace microdit::image {
namespace {

WebPBitstreamFeatures read_features(Bytes bytes) {
  WebPBitstreamFeatures features{};
  if (WebPGetFeatures(data_of(bytes), bytes.size(), &features) != VP8_STATUS_OK)
    throw BadImage("WebP: no header");
  if (features.width < 1 || features.height < 1) throw BadImage("WebP: the picture is empty");
  return features;
}

}  // namespace

bool is_webp(Bytes bytes) {
  const std::uint8_t* data = data_of(bytes);
  return bytes.size() >= 12 && std::equal(data, data + 4, "RIFF") && std::equal(data + 8, data + 12, "WEBP");
}

ImageInfo probe_webp(Bytes bytes) {
  const WebPBitstreamFeatures features = read_features(bytes);
  return {Format::webp, features.width, features.height};
}

Image decode_webp(Bytes bytes, const DecodeRules& rules) {
  const WebPBitstreamFeatures features = read_features(bytes);
  check_limits({Format::webp, features.width, features.height}, rules);
  if (features.has_animation != 0) throw BadImage("WebP: animations are not read");
  Image image(features.height, features.width);
  if (features.has_alpha == 0) {
    if (WebPDecodeRGBInto(data_of(bytes), bytes.size(), image.pixels.data(), image.pixels.size(),
                          features.width * 3) == nullptr) {
      throw BadImage("WebP: the file is truncated or damaged");
    }
    return image;
  }
  std::vector<std::uint8_t> rgba(image.pixels.size() / 3 * 4);
  if (WebPDecodeRGBAInto(data_of(bytes), bytes.size(), rgba.data(), rgba.size(), features.width * 4) ==
      nullptr) {
    throw BadImage("WebP: the file is truncated or damaged");
  }
  for (std::int64_t y = 0; y < image.height; ++y) {
    compose_on_white(rgba.data() + y * image.width * 4, image.row(y), image.width);
  }
  return image;
}

}  // namespace microdit::image

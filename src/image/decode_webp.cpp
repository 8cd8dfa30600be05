// WebP (lossy, lossless, alpha, the first frame of an animation) -> RGB through libwebp.
#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "image/formats.h"

namespace microdit::image {
namespace {

WebPBitstreamFeatures read_features(Bytes bytes) {
  WebPBitstreamFeatures features{};
  if (WebPGetFeatures(data_of(bytes), bytes.size(), &features) != VP8_STATUS_OK)
    throw BadImage("WebP: no header", BadImage::Why::no_header);
  if (features.width < 1 || features.height < 1)
    throw BadImage("WebP: the picture is empty", BadImage::Why::no_header);
  return features;
}

/// The first picture of an animation, on its canvas.
class FirstFrame {
 public:
  explicit FirstFrame(Bytes bytes) {
    const WebPData data{data_of(bytes), bytes.size()};
    WebPAnimDecoderOptions options;
    if (WebPAnimDecoderOptionsInit(&options) == 0) throw std::bad_alloc();
    options.color_mode = MODE_RGBA;
    decoder_.reset(WebPAnimDecoderNew(&data, &options));
    int time_ms = 0;
    if (!decoder_ || WebPAnimDecoderGetNext(decoder_.get(), &rgba_, &time_ms) == 0)
      throw BadImage("WebP: the animation is truncated or damaged");
  }
  const std::uint8_t* rgba() const { return rgba_; }

 private:
  struct Delete {
    void operator()(WebPAnimDecoder* decoder) const { WebPAnimDecoderDelete(decoder); }
  };
  std::unique_ptr<WebPAnimDecoder, Delete> decoder_;
  std::uint8_t* rgba_ = nullptr;
};

/// The file's chunks; null where they are damaged.
class Demuxer {
 public:
  explicit Demuxer(Bytes bytes) {
    const WebPData data{data_of(bytes), bytes.size()};
    demuxer_.reset(WebPDemux(&data));
  }
  const WebPDemuxer* get() const { return demuxer_.get(); }

 private:
  struct Delete {
    void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
  };
  std::unique_ptr<WebPDemuxer, Delete> demuxer_;
};

void put_rgba(const std::uint8_t* rgba, const DecodeRules& rules, Image& image) {
  for (std::int64_t y = 0; y < image.height; ++y, rgba += image.width * 4)
    put_alpha(rules, rgba, image.row(y), image.width);
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

Metadata webp_metadata(Bytes bytes) {
  const Demuxer demuxer(bytes);
  Metadata metadata;
  if (!demuxer.get()) return metadata;
  const auto chunk = [&](const char* name, auto&& take) {
    WebPChunkIterator found;
    if (WebPDemuxGetChunk(demuxer.get(), name, 1, &found) == 0) return;
    const auto data = std::as_bytes(std::span(found.chunk.bytes, found.chunk.size));
    if (!data.empty()) take(data);
    WebPDemuxReleaseChunkIterator(&found);
  };
  chunk("EXIF", [&](Bytes data) { metadata.exif.emplace(data.begin(), data.end()); });
  chunk("XMP ", [&](Bytes data) { metadata.xmp.assign(data.begin(), data.end()); });
  return metadata;
}

bool webp_has_frames(Bytes bytes) {
  const Demuxer demuxer(bytes);
  return demuxer.get() && WebPDemuxGetI(demuxer.get(), WEBP_FF_FRAME_COUNT) > 1;
}

Image decode_webp(Bytes bytes, const DecodeRules& rules) {
  const WebPBitstreamFeatures features = read_features(bytes);
  Image image(features.height, features.width);
  if (features.has_animation != 0) {
    FirstFrame frame(bytes);
    put_rgba(frame.rgba(), rules, image);
    return image;
  }
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
  put_rgba(rgba.data(), rules, image);
  return image;
}

}  // namespace microdit::image

// JPEG -> RGB through TurboJPEG, with the choices that make it equal to Pillow.
#include <fmt/format.h>
#include <turbojpeg.h>

#include <memory>
#include <optional>
#include <vector>

#include "image/formats.h"

namespace microdit::image {
namespace {

constexpr int kStartOfScan = 0xda;
constexpr int kEndOfImage = 0xd9;
constexpr int kRestartFirst = 0xd0;
constexpr int kStartOfImage = 0xd8;
constexpr int kTemporary = 0x01;

bool has_segment(int marker) {
  return !(marker >= kRestartFirst && marker <= kEndOfImage) && marker != kTemporary;
}

/// Start-of-frame markers: 0xc0 to 0xcf without DHT, JPG and DAC.
bool is_frame(int marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

/// Walks from marker to marker; entropy-coded data (whose 0xff bytes are stuffed) is passed over like any
/// gap.
class MarkerWalk {
 public:
  explicit MarkerWalk(Bytes bytes) : data_(data_of(bytes)), size_(bytes.size()) {}

  /// The next marker, or nothing at the end of the bytes. Afterwards segment() holds its payload.
  std::optional<int> next() {
    while (position_ + 1 < size_) {
      const int code = data_[position_ + 1];
      if (data_[position_] != 0xff || code == 0x00 || code == 0xff ||
          (code >= kRestartFirst && code < kStartOfImage)) {
        ++position_;
        continue;
      }
      position_ += 2;
      segment_ = {};
      if (!has_segment(code)) return code;
      if (position_ + 2 > size_) return std::nullopt;
      const std::size_t length = static_cast<std::size_t>(data_[position_]) << 8U | data_[position_ + 1];
      if (length < 2 || position_ + length > size_) return std::nullopt;
      segment_ = {data_ + position_ + 2, length - 2};
      position_ += length;
      return code;
    }
    return std::nullopt;
  }
  std::span<const std::uint8_t> segment() const { return segment_; }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t position_ = 2;  // behind the start of image
  std::span<const std::uint8_t> segment_;
};

/// Pillow refuses a file whose end of image is missing; TurboJPEG would fill the rest with grey.
bool is_complete(Bytes bytes) {
  MarkerWalk walk(bytes);
  bool scanned = false;
  while (const auto marker = walk.next()) {
    if (*marker == kEndOfImage) return scanned;
    scanned = scanned || *marker == kStartOfScan;
  }
  return false;
}

struct CloseDecoder {
  void operator()(void* handle) const { tjDestroy(handle); }
};
using Decoder = std::unique_ptr<void, CloseDecoder>;

/// CMYK is stored inverted (Adobe's convention, which Pillow assumes); the formula is Pillow's conversion.
void inverted_cmyk_to_rgb(const std::vector<std::uint8_t>& cmyk, Image& image) {
  const std::size_t pixels = cmyk.size() / 4;
  for (std::size_t i = 0; i < pixels; ++i) {
    const int key = cmyk[4 * i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[4 * i + c]) * key + 128;
      image.pixels[3 * i + c] = static_cast<std::uint8_t>(key - (((product >> 8) + product) >> 8));
    }
  }
}

void decompress(tjhandle decoder, Bytes bytes, const ImageInfo& info, int format, std::uint8_t* out) {
  // Not TJFLAG_FASTUPSAMPLE: Pillow's chroma is the smooth one. Warnings (bad data inside) are let pass, as
  // Pillow does.
  constexpr int kFlags = TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS;
  const int status = tjDecompress2(decoder, data_of(bytes), bytes.size(), out, static_cast<int>(info.width),
                                   0, static_cast<int>(info.height), format, kFlags);
  if (status != 0 && tjGetErrorCode(decoder) != TJERR_WARNING) {
    throw BadImage(fmt::format("JPEG: {}", tjGetErrorStr2(decoder)));
  }
}

}  // namespace

bool is_jpeg(Bytes bytes) {
  const std::uint8_t* data = data_of(bytes);
  return bytes.size() >= 3 && data[0] == 0xff && data[1] == kStartOfImage && data[2] == 0xff;
}

ImageInfo probe_jpeg(Bytes bytes) {
  MarkerWalk walk(bytes);
  while (const auto marker = walk.next()) {
    if (*marker == kStartOfScan || *marker == kEndOfImage) break;
    const auto segment = walk.segment();
    if (!is_frame(*marker) || segment.size() < 6) continue;
    const ImageInfo info{Format::jpeg, segment[3] << 8 | segment[4], segment[1] << 8 | segment[2]};
    if (info.width < 1 || info.height < 1) throw BadImage("JPEG: the picture is empty");
    return info;
  }
  throw BadImage("JPEG: no frame header");
}

Image decode_jpeg(Bytes bytes, const DecodeRules& rules) {
  if (!is_complete(bytes)) throw BadImage("JPEG: the file is truncated");
  const Decoder decoder(tjInitDecompress());
  if (!decoder) throw std::bad_alloc();
  // The library's own reading of the header decides. It fails on unusual chroma layouts, though it can decode
  // them: so the values count, not the status.
  int width = 0;
  int height = 0;
  int subsampling = -1;
  int colorspace = -1;
  const int status = tjDecompressHeader3(decoder.get(), data_of(bytes), bytes.size(), &width, &height,
                                         &subsampling, &colorspace);
  if (status != 0 && (width < 1 || height < 1)) {
    throw BadImage(fmt::format("JPEG: {}", tjGetErrorStr2(decoder.get())));
  }
  const ImageInfo info{Format::jpeg, width, height};
  check_limits(info, rules);
  Image image(height, width);
  if (colorspace == TJCS_CMYK || colorspace == TJCS_YCCK) {
    std::vector<std::uint8_t> cmyk(static_cast<std::size_t>(info.width * info.height * 4));
    decompress(decoder.get(), bytes, info, TJPF_CMYK, cmyk.data());
    inverted_cmyk_to_rgb(cmyk, image);
  } else {
    decompress(decoder.get(), bytes, info, TJPF_RGB, image.pixels.data());
  }
  return image;
}

}  // namespace microdit::image

// RGB -> JPEG bytes through TurboJPEG.
#include <turbojpeg.h>

#include <memory>
#include <new>

#include "core/error.h"
#include "image/encode.h"

namespace microdit::image {
namespace {

struct CloseEncoder {
  void operator()(void* handle) const { tjDestroy(handle); }
};

}  // namespace

std::vector<std::byte> encode_jpeg(const Image& image, int quality) {
  core::check(image.width > 0 && image.height > 0 && quality >= 1 && quality <= 100,
              "encode_jpeg of {} x {} at quality {}", image.width, image.height, quality);
  const std::unique_ptr<void, CloseEncoder> encoder(tjInitCompress());
  if (!encoder) throw std::bad_alloc();
  const auto width = static_cast<int>(image.width);
  const auto height = static_cast<int>(image.height);
  // Full chroma: what is written here is read by a codec next, not by an eye.
  constexpr int kSubsampling = TJSAMP_444;
  std::vector<std::byte> bytes(tjBufSize(width, height, kSubsampling));
  auto* out = reinterpret_cast<unsigned char*>(bytes.data());
  auto size = static_cast<unsigned long>(bytes.size());
  if (tjCompress2(encoder.get(), image.pixels.data(), width, 0, height, TJPF_RGB, &out, &size, kSubsampling,
                  quality, TJFLAG_ACCURATEDCT | TJFLAG_NOREALLOC) != 0) {
    core::system_error("JPEG encoding of {} x {} failed: {}", width, height, tjGetErrorStr2(encoder.get()));
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace microdit::image

// TIFF -> RGB through libtiff: the first page, 8-bit colours as it converts them.
#include <fmt/format.h>
#include <tiffio.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "image/formats.h"

namespace microdit::image {
namespace {

struct Memory {
  const std::uint8_t* data;
  std::uint64_t size;
  std::uint64_t at = 0;
};

tmsize_t read(thandle_t handle, void* to, tmsize_t count) {
  auto* memory = static_cast<Memory*>(handle);
  const std::uint64_t left = memory->at < memory->size ? memory->size - memory->at : 0;
  const std::uint64_t got = std::min<std::uint64_t>(static_cast<std::uint64_t>(count), left);
  if (got > 0) std::memcpy(to, memory->data + memory->at, got);
  memory->at += got;
  return static_cast<tmsize_t>(got);
}
tmsize_t refuse_write(thandle_t, void*, tmsize_t) {
  return -1;
}
toff_t seek(thandle_t handle, toff_t offset, int whence) {
  auto* memory = static_cast<Memory*>(handle);
  memory->at = whence == SEEK_SET ? offset : whence == SEEK_CUR ? memory->at + offset : memory->size + offset;
  return memory->at;
}
int close_nothing(thandle_t) {
  return 0;
}
toff_t size_of(thandle_t handle) {
  return static_cast<Memory*>(handle)->size;
}

struct Close {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};

/// An open file, quiet.
class Tiff {
 public:
  explicit Tiff(Bytes bytes) : memory_{data_of(bytes), bytes.size()} {
    TIFFSetErrorHandler(nullptr);
    TIFFSetWarningHandler(nullptr);
    tiff_.reset(TIFFClientOpen("picture", "rm", &memory_, read, refuse_write, seek, close_nothing, size_of,
                               nullptr, nullptr));
    if (!tiff_) throw BadImage("TIFF: no header", BadImage::Why::no_header);
  }
  TIFF* get() const { return tiff_.get(); }
  ImageInfo info() const {
    std::uint32_t width = 0, height = 0;
    TIFFGetField(get(), TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(get(), TIFFTAG_IMAGELENGTH, &height);
    if (width < 1 || height < 1) throw BadImage("TIFF: the picture is empty", BadImage::Why::no_header);
    return {Format::tiff, width, height};
  }

 private:
  Memory memory_;
  std::unique_ptr<TIFF, Close> tiff_;
};

[[noreturn]] void unsupported(const std::string& what) {
  throw BadImage("TIFF: " + what, BadImage::Why::unsupported);
}

void check_kind(TIFF* tiff, const DecodeRules& rules) {
  std::uint16_t bits = 1, extra = 0, photometric = 0;
  std::uint16_t* kinds = nullptr;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &bits);
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &extra, &kinds);
  if (bits > 16) unsupported(fmt::format("{} bits a sample", bits));
  if (extra > 0 && rules.drop_alpha)
    unsupported("alpha, which is not dropped from this format (alpha: white reads it)");
  if (bits == 16 && photometric <= PHOTOMETRIC_MINISBLACK && rules.clip_grey16)
    unsupported("16-bit grey, which is not clipped in this format (grey16: high reads it)");
  char why[1024] = {};
  if (TIFFRGBAImageOK(tiff, why) == 0) unsupported(why);
}

}  // namespace

ImageInfo probe_tiff(Bytes bytes) {
  return Tiff(bytes).info();
}

Image decode_tiff(Bytes bytes, const DecodeRules& rules) {
  const Tiff tiff(bytes);
  const ImageInfo info = tiff.info();
  check_kind(tiff.get(), rules);
  std::vector<std::uint32_t> raster(static_cast<std::size_t>(info.width * info.height));
  if (TIFFReadRGBAImageOriented(tiff.get(), static_cast<std::uint32_t>(info.width),
                                static_cast<std::uint32_t>(info.height), raster.data(), ORIENTATION_TOPLEFT,
                                1) == 0)
    throw BadImage("TIFF: the file is truncated or damaged");
  Image image(info.height, info.width);
  for (std::size_t i = 0; i < raster.size(); ++i) {
    // The library has multiplied the colours by alpha.
    const std::uint32_t white = 255 - TIFFGetA(raster[i]);
    const std::uint32_t rgb[3] = {TIFFGetR(raster[i]), TIFFGetG(raster[i]), TIFFGetB(raster[i])};
    for (std::size_t c = 0; c < 3; ++c)
      image.pixels[3 * i + c] = static_cast<std::uint8_t>(std::min<std::uint32_t>(rgb[c] + white, 255));
  }
  return image;
}

}  // namespace microdit::image

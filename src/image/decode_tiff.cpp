// TIFF -> RGB through libtiff: the first page, 8-bit colours as it converts them, turned as its Orientation says.
#include <fmt/format.h>
#include <tiffio.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "image/formats.h"
#include "image/tiff_samples.h"

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
    if (const auto directory = read_tiff_directory(bytes)) orientation_ = orientation_of(*directory);
  }
  TIFF* get() const { return tiff_.get(); }
  /// As it is shown: what is stored may lie on its side.
  ImageInfo info() const {
    std::uint32_t width = 0, height = 0;
    TIFFGetField(get(), TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(get(), TIFFTAG_IMAGELENGTH, &height);
    if (width < 1 || height < 1) throw BadImage("TIFF: the picture is empty", BadImage::Why::no_header);
    if (turned()) std::swap(width, height);
    return {Format::tiff, width, height};
  }
  /// 1 to 8, where the first stored row and column are to be shown: of the tag, as Pillow reads it.
  int orientation() const { return orientation_; }
  /// Rows are columns.
  bool turned() const { return orientation() >= ORIENTATION_LEFTTOP; }
  /// What the library takes for the orientation of the rows: asked for the same, it leaves them as they are stored.
  std::uint16_t stored() const {
    std::uint16_t orientation = ORIENTATION_TOPLEFT;
    TIFFGetFieldDefaulted(get(), TIFFTAG_ORIENTATION, &orientation);
    return orientation;
  }

 private:
  Memory memory_;
  int orientation_ = 1;
  std::unique_ptr<TIFF, Close> tiff_;
};

[[noreturn]] void unsupported(const std::string& what) {
  throw BadImage("TIFF: " + what, BadImage::Why::unsupported);
}

/// Y'CbCr, as the library converts it.
void check_kind(TIFF* tiff) {
  std::uint16_t bits = 1, photometric = 0, compression = COMPRESSION_NONE;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
  if (photometric != PHOTOMETRIC_YCBCR || bits != 8)
    unsupported(fmt::format("photometric interpretation {} of {} bits", photometric, bits));
  if (compression == COMPRESSION_NONE) unsupported("Y'CbCr that is not compressed");
  char why[1024] = {};
  if (TIFFRGBAImageOK(tiff, why) == 0) unsupported(why);
}

Image read_converted(const Tiff& tiff, std::int64_t width, std::int64_t height) {
  check_kind(tiff.get());
  std::vector<std::uint32_t> raster(static_cast<std::size_t>(width * height));
  if (TIFFReadRGBAImageOriented(tiff.get(), static_cast<std::uint32_t>(width),
                                static_cast<std::uint32_t>(height), raster.data(), tiff.stored(), 1) == 0)
    throw BadImage("TIFF: the file is truncated or damaged");
  Image image(height, width);
  std::uint8_t* rgb = image.pixels.data();
  for (const std::uint32_t pixel : raster) {
    for (const auto value : {TIFFGetR(pixel), TIFFGetG(pixel), TIFFGetB(pixel)})
      *rgb++ = static_cast<std::uint8_t>(value);
  }
  return image;
}

}  // namespace

ImageInfo probe_tiff(Bytes bytes) {
  return Tiff(bytes).info();
}

Image decode_tiff(Bytes bytes, const DecodeRules& rules) {
  const Tiff tiff(bytes);
  const ImageInfo info = tiff.info();
  Image image = has_plain_samples(tiff.get()) ? read_plain_samples(tiff.get(), rules)
                                              : read_converted(tiff, tiff.turned() ? info.height : info.width,
                                                               tiff.turned() ? info.width : info.height);
  return turned(std::move(image), tiff.orientation());
}

bool tiff_has_frames(Bytes bytes) {
  const auto directory = read_tiff_directory(bytes);
  return directory && directory->next != 0 && directory->next != directory->begin &&
         directory->next + std::uint64_t{2} <= bytes.size();
}

}  // namespace microdit::image

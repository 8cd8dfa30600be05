// TIFF -> RGB through libtiff: the first page, 8-bit colours as it converts them, turned as its Orientation says.
#include <fmt/format.h>
#include <tiffio.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

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

/// One pixel, whose colours the library has multiplied by alpha.
void put_on_white(std::uint32_t rgba, std::uint8_t* rgb) {
  const std::uint32_t white = 255 - TIFFGetA(rgba);
  const std::uint32_t colours[3] = {TIFFGetR(rgba), TIFFGetG(rgba), TIFFGetB(rgba)};
  for (std::size_t c = 0; c < 3; ++c)
    rgb[c] = static_cast<std::uint8_t>(std::min<std::uint32_t>(colours[c] + white, 255));
}

}  // namespace

ImageInfo probe_tiff(Bytes bytes) {
  return Tiff(bytes).info();
}

Image decode_tiff(Bytes bytes, const DecodeRules& rules) {
  const Tiff tiff(bytes);
  const ImageInfo info = tiff.info();
  check_kind(tiff.get(), rules);
  const bool sideways = tiff.turned();
  Image image(sideways ? info.width : info.height, sideways ? info.height : info.width);
  std::vector<std::uint32_t> raster(static_cast<std::size_t>(image.width * image.height));
  if (TIFFReadRGBAImageOriented(tiff.get(), static_cast<std::uint32_t>(image.width),
                                static_cast<std::uint32_t>(image.height), raster.data(), tiff.stored(),
                                1) == 0)
    throw BadImage("TIFF: the file is truncated or damaged");
  for (std::size_t i = 0; i < raster.size(); ++i) put_on_white(raster[i], image.pixels.data() + 3 * i);
  return turned(std::move(image), tiff.orientation());
}

bool tiff_has_frames(Bytes bytes) {
  const auto directory = read_tiff_directory(bytes);
  return directory && directory->next != 0 && directory->next != directory->begin &&
         directory->next + std::uint64_t{2} <= bytes.size();
}

}  // namespace microdit::image

// Strips or tiles, of all samples or of one, into bands of rows of 8-bit samples; then row by row to RGB.
#include "image/tiff_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "image/formats.h"

namespace microdit::image {
namespace {

constexpr std::int64_t kMaxSamples = 6;
constexpr tmsize_t kMaxSpare = 64 << 20;  // bytes of a strip or tile beyond those of the picture

enum class Alpha { none, straight, multiplied };

struct Kind {
  std::int64_t width = 0, height = 0, samples = 1, colours = 1;
  int bits = 1;
  int photometric = PHOTOMETRIC_MINISBLACK;
  bool planes = false;  ///< every sample lies apart from the others
  bool clip = false;    ///< 16-bit grey: min(value, 255)
  Alpha alpha = Alpha::none;
  std::array<std::array<std::uint8_t, 3>, 256> palette{};
};

[[noreturn]] void unsupported(const std::string& what) {
  throw BadImage("TIFF: " + what, BadImage::Why::unsupported);
}

std::uint16_t field(TIFF* tiff, std::uint32_t tag) {
  std::uint16_t value = 0;
  TIFFGetFieldDefaulted(tiff, tag, &value);
  return value;
}

void read_palette(TIFF* tiff, Kind& kind) {
  std::array<std::uint16_t*, 3> columns{};
  if (kind.bits > 8 || TIFFGetField(tiff, TIFFTAG_COLORMAP, &columns[0], &columns[1], &columns[2]) == 0)
    unsupported("a palette that is missing or too large");
  for (std::size_t i = 0; i < std::size_t{1} << kind.bits; ++i)
    for (std::size_t c = 0; c < 3; ++c) kind.palette[i][c] = static_cast<std::uint8_t>(columns[c][i] >> 8);
}

/// Whether the first sample after the colours is alpha. Colours with one that nothing is said of: as if it were.
Alpha alpha_of(TIFF* tiff, const Kind& kind) {
  std::uint16_t count = 0;
  std::uint16_t* kinds = nullptr;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds);
  if (kind.samples == kind.colours) return Alpha::none;
  if (count == 0 && kind.photometric == PHOTOMETRIC_RGB && kind.samples == 4) return Alpha::straight;
  if (count != kind.samples - kind.colours) unsupported(fmt::format("{} samples a pixel", kind.samples));
  if (kind.photometric == PHOTOMETRIC_SEPARATED) return Alpha::none;
  return kinds[0] == EXTRASAMPLE_ASSOCALPHA   ? Alpha::multiplied
         : kinds[0] == EXTRASAMPLE_UNASSALPHA ? Alpha::straight
                                              : Alpha::none;
}

Kind read_kind(TIFF* tiff, const DecodeRules& rules) {
  Kind kind;
  std::uint32_t width = 0, height = 0;
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
  kind.width = width;
  kind.height = height;
  kind.bits = field(tiff, TIFFTAG_BITSPERSAMPLE);
  kind.samples = field(tiff, TIFFTAG_SAMPLESPERPIXEL);
  kind.photometric = field(tiff, TIFFTAG_PHOTOMETRIC);
  kind.colours = kind.photometric == PHOTOMETRIC_RGB ? 3 : kind.photometric == PHOTOMETRIC_SEPARATED ? 4 : 1;
  kind.planes = kind.samples > 1 && field(tiff, TIFFTAG_PLANARCONFIG) == PLANARCONFIG_SEPARATE;
  constexpr std::array kBits = {1, 2, 4, 8, 16};
  if (std::ranges::find(kBits, kind.bits) == kBits.end() ||
      field(tiff, TIFFTAG_SAMPLEFORMAT) > SAMPLEFORMAT_INT || (kind.bits < 8 && kind.samples > 1))
    unsupported(fmt::format("{} samples of {} bits or of this format", kind.samples, kind.bits));
  if (kind.samples < kind.colours || kind.samples > kMaxSamples)
    unsupported(fmt::format("{} samples a pixel", kind.samples));
  if (kind.bits == 16 && field(tiff, TIFFTAG_SAMPLEFORMAT) == SAMPLEFORMAT_INT)
    unsupported("16-bit samples with a sign");
  kind.clip = rules.clip_grey16 && kind.bits == 16 && kind.samples == 1;
  kind.alpha = alpha_of(tiff, kind);
  if (kind.photometric == PHOTOMETRIC_PALETTE) read_palette(tiff, kind);
  return kind;
}

/// Sample `i` of a row.
std::uint8_t sample_at(const Kind& kind, const std::uint8_t* row, std::int64_t i) {
  if (kind.bits == 8) return row[i];
  if (kind.bits == 16) {
    std::uint16_t value = 0;
    std::memcpy(&value, row + 2 * i, 2);
    return static_cast<std::uint8_t>(kind.clip ? std::min<unsigned>(value, 255) : value >> 8U);
  }
  const std::int64_t bit = i * kind.bits;
  return static_cast<std::uint8_t>(row[bit / 8] >> (8 - kind.bits - bit % 8) & ((1 << kind.bits) - 1));
}

void put_cmyk(const std::uint8_t* cmyk, std::uint8_t* rgb) {
  const int light = 255 - cmyk[3];
  for (int c = 0; c < 3; ++c) {
    const int product = cmyk[c] * light + 128;
    rgb[c] = static_cast<std::uint8_t>(light - (((product >> 8) + product) >> 8));
  }
}

/// The colours of one pixel.
void put_colours(const Kind& kind, const std::uint8_t* pixel, std::uint8_t* rgb) {
  if (kind.photometric == PHOTOMETRIC_RGB) {
    std::copy_n(pixel, 3, rgb);
  } else if (kind.photometric == PHOTOMETRIC_SEPARATED) {
    put_cmyk(pixel, rgb);
  } else if (kind.photometric == PHOTOMETRIC_PALETTE) {
    std::copy_n(kind.palette[pixel[0]].data(), 3, rgb);
  } else {
    int grey = kind.bits < 8 ? pixel[0] * 255 / ((1 << kind.bits) - 1) : pixel[0];
    if (kind.photometric == PHOTOMETRIC_MINISWHITE && !kind.clip) grey = 255 - grey;  // clipped: as Pillow
    std::fill_n(rgb, 3, static_cast<std::uint8_t>(grey));
  }
}

void divide_by_alpha(std::uint8_t* rgba) {
  const unsigned alpha = rgba[3];
  for (int c = 0; c < 3; ++c)
    rgba[c] = alpha == 0 ? 0 : static_cast<std::uint8_t>(std::min(255U * rgba[c] / alpha, 255U));
}

void put_row(const Kind& kind, const DecodeRules& rules, const std::uint8_t* samples, std::uint8_t* rgb) {
  for (std::int64_t x = 0; x < kind.width; ++x, samples += kind.samples, rgb += 3) {
    if (kind.alpha == Alpha::none) {
      put_colours(kind, samples, rgb);
      continue;
    }
    std::array<std::uint8_t, 4> rgba{};
    put_colours(kind, samples, rgba.data());
    rgba[3] = samples[kind.colours];
    if (kind.alpha == Alpha::multiplied) divide_by_alpha(rgba.data());
    put_alpha(rules, rgba.data(), rgb, 1);
  }
}

/// The pieces in which a picture is stored: strips are tiles of its whole width.
class Pieces {
 public:
  Pieces(TIFF* tiff, const Kind& kind) : tiff_(tiff), kind_(kind), tiled_(TIFFIsTiled(tiff) != 0) {
    std::uint32_t width = 0, rows = 0;
    if (tiled_) {
      TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &width);
      TIFFGetField(tiff, TIFFTAG_TILELENGTH, &rows);
    } else {
      TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &rows);
      rows = static_cast<std::uint32_t>(std::min<std::int64_t>(rows, kind.height));
    }
    this->width = tiled_ ? width : kind.width;
    this->rows = rows;
    row_bytes_ = tiled_ ? TIFFTileRowSize(tiff) : TIFFScanlineSize(tiff);
    const tmsize_t bytes = tiled_ ? TIFFTileSize(tiff) : TIFFStripSize(tiff);
    const tmsize_t picture = kind.width * kind.height * kind.samples * 2;
    if (this->width < 1 || this->rows < 1 || row_bytes_ < 1 || bytes < 1 || bytes > picture + kMaxSpare)
      throw BadImage("TIFF: strips or tiles of a size that cannot be");
    piece_.resize(static_cast<std::size_t>(bytes));
  }

  /// The samples of rows [y, y + rows), those of one plane or all, into a band of whole pixels.
  void read(std::int64_t y, std::uint8_t* band) {
    for (std::int64_t plane = 0; plane < (kind_.planes ? kind_.samples : 1); ++plane)
      for (std::int64_t x = 0; x < kind_.width; x += width) read_piece(x, y, plane, band);
  }

  std::int64_t width = 0, rows = 0;  ///< of a piece

 private:
  void read_piece(std::int64_t x, std::int64_t y, std::int64_t plane, std::uint8_t* band) {
    const auto left = static_cast<std::uint32_t>(x), top = static_cast<std::uint32_t>(y);
    const auto sample = static_cast<std::uint16_t>(plane);
    const std::int64_t used = std::min(rows, kind_.height - y);
    const auto wanted = static_cast<tmsize_t>(used) * row_bytes_;
    const tmsize_t all = std::ssize(piece_);
    if (wanted > all) throw BadImage("TIFF: strips or tiles of a size that cannot be");
    const tmsize_t got =
        tiled_ ? TIFFReadEncodedTile(tiff_, TIFFComputeTile(tiff_, left, top, 0, sample), piece_.data(), all)
               : TIFFReadEncodedStrip(tiff_, TIFFComputeStrip(tiff_, top, sample), piece_.data(), wanted);
    if (got < wanted) throw BadImage("TIFF: the file is truncated or damaged");
    const std::int64_t each = kind_.planes ? 1 : kind_.samples, columns = std::min(width, kind_.width - x);
    for (std::int64_t row = 0; row < used; ++row) {
      const std::uint8_t* from = piece_.data() + row * row_bytes_;
      std::uint8_t* to = band + (row * kind_.width + x) * kind_.samples + plane;
      for (std::int64_t i = 0; i < columns * each; ++i)
        to[kind_.planes ? i * kind_.samples : i] = sample_at(kind_, from, i);
    }
  }

  TIFF* tiff_;
  const Kind& kind_;
  bool tiled_;
  tmsize_t row_bytes_ = 0;
  std::vector<std::uint8_t> piece_;
};

}  // namespace

bool has_plain_samples(TIFF* tiff) {
  const std::uint16_t photometric = field(tiff, TIFFTAG_PHOTOMETRIC);
  return photometric <= PHOTOMETRIC_PALETTE || photometric == PHOTOMETRIC_SEPARATED;
}

Image read_plain_samples(TIFF* tiff, const DecodeRules& rules) {
  const Kind kind = read_kind(tiff, rules);
  Pieces pieces(tiff, kind);
  Image image(kind.height, kind.width);
  std::vector<std::uint8_t> band(
      static_cast<std::size_t>(std::min(pieces.rows, kind.height) * kind.width * kind.samples));
  for (std::int64_t y = 0; y < kind.height; y += pieces.rows) {
    pieces.read(y, band.data());
    for (std::int64_t row = 0; row < std::min(pieces.rows, kind.height - y); ++row)
      put_row(kind, rules, band.data() + row * kind.width * kind.samples, image.row(y + row));
  }
  return image;
}

}  // namespace microdit::image

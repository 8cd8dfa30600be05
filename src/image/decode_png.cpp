// PNG -> RGB through libpng: every colour type and depth, interlaced or not, alpha on white.
#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <vector>

#include "image/formats.h"
#include "image/png_inflate.h"
#include "image/png_session.h"

namespace microdit::image {
namespace {

constexpr std::size_t kHeaderBytes = 33;  // signature and the whole IHDR chunk

struct PngLayout {
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::int64_t packed_row_bytes = 0;  ///< as stored, before conversion to 8 bits
  std::int64_t row_bytes = 0;         ///< as delivered
  bool has_alpha = false;
  bool clip_grey = false;  ///< rows are 16-bit grey
  int passes = 1;          ///< of an interlaced picture several
  bool is_rgb() const { return !has_alpha && !clip_grey; }
};

bool read_layout(PngSession& session, const DecodeRules& rules, PngLayout& layout) {
  png_structp png = session.png;
  png_infop info = session.info;
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_read_info(png, info);
  layout.packed_row_bytes = static_cast<std::int64_t>(png_get_rowbytes(png, info));
  layout.clip_grey = rules.clip_grey16 && png_get_bit_depth(png, info) == 16 &&
                     png_get_color_type(png, info) == PNG_COLOR_TYPE_GRAY;
  if (!layout.clip_grey) {
    png_set_expand(png);    // palettes, 1 to 4 bit grey, tRNS
    png_set_strip_16(png);  // the high byte
    png_set_gray_to_rgb(png);
    if (rules.drop_alpha) png_set_strip_alpha(png);
  }
  layout.passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  layout.width = png_get_image_width(png, info);
  layout.height = png_get_image_height(png, info);
  layout.row_bytes = static_cast<std::int64_t>(png_get_rowbytes(png, info));
  layout.has_alpha = png_get_channels(png, info) == 4;
  return true;
}

/// One row as libpng delivers it -> RGB.
void put_row(const PngLayout& layout, const std::uint8_t* from, std::uint8_t* rgb) {
  if (layout.has_alpha) return compose_on_white(from, rgb, layout.width);
  for (std::int64_t x = 0; x < layout.width; ++x) {
    const std::uint8_t grey = from[2 * x] > 0 ? 255 : from[2 * x + 1];
    std::fill_n(rgb + 3 * x, 3, grey);
  }
}

/// `held` is room for one row, of an interlaced picture for all; not used when libpng delivers RGB.
bool read_rows(PngSession& session, const PngLayout& layout, std::uint8_t* held, Image& image) {
  if (setjmp(png_jmpbuf(session.png)) != 0) return false;
  for (int pass = 0; pass < layout.passes; ++pass) {
    for (std::int64_t y = 0; y < layout.height; ++y) {
      std::uint8_t* row =
          layout.is_rgb() ? image.row(y) : held + (layout.passes > 1 ? y * layout.row_bytes : 0);
      png_read_row(session.png, row, nullptr);
      if (!layout.is_rgb() && pass + 1 == layout.passes) put_row(layout, row, image.row(y));
    }
  }
  return true;
}

/// Instead of the file; its checksums are right.
void read_stored(PngSession& session, const StoredPng& stored) {
  session.rest = {};
  session.more = stored.pieces;
  png_set_crc_action(session.png, PNG_CRC_QUIET_USE, PNG_CRC_NO_CHANGE);
  png_set_option(session.png, PNG_IGNORE_ADLER32, PNG_OPTION_ON);
}

void ignore_ancillary_chunks(png_structp png) {
  // Not even unpacked: no compressed profile or text can become a bomb, and none changes the pixels. tRNS
  // stays.
  static const png_byte kIgnored[] =
      "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0tEXt\0tIME\0zTXt";
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, 0);
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, kIgnored, sizeof(kIgnored) / 5);
}

}  // namespace

bool is_png(Bytes bytes) {
  return bytes.size() >= kPngSignatureBytes && png_sig_cmp(data_of(bytes), 0, kPngSignatureBytes) == 0;
}

ImageInfo probe_png(Bytes bytes) {
  const std::uint8_t* data = data_of(bytes);
  if (bytes.size() < kHeaderBytes || !std::equal(data + 12, data + 16, "IHDR")) {
    throw BadImage("PNG: no header", BadImage::Why::no_header);
  }
  const ImageInfo info{Format::png, big_endian(&bytes[16]), big_endian(&bytes[20])};
  if (info.width < 1 || info.height < 1)
    throw BadImage("PNG: the picture is empty", BadImage::Why::no_header);
  return info;
}

Image decode_png(Bytes bytes, const DecodeRules& rules) {
  const StoredPng stored = unpack_png(bytes, rules);
  PngSession session(bytes);
  if (!stored.pieces.empty()) read_stored(session, stored);
  const auto max_side =
      static_cast<png_uint_32>(std::clamp<std::int64_t>(rules.max_side, 1, PNG_UINT_31_MAX));
  png_set_user_limits(session.png, max_side, max_side);
  ignore_ancillary_chunks(session.png);

  PngLayout layout;
  if (!read_layout(session, rules, layout)) throw BadImage(fmt::format("PNG: {}", session.message));
  check_limits({Format::png, layout.width, layout.height}, rules);
  const std::int64_t filtered = layout.packed_row_bytes * layout.height;
  if (filtered / kMaxDeflateRatio > static_cast<std::int64_t>(bytes.size())) {
    throw BadImage(
        fmt::format("PNG: {} bytes cannot hold {} x {} pixels", bytes.size(), layout.width, layout.height));
  }

  Image image(layout.height, layout.width);
  const std::int64_t held_rows = layout.is_rgb() ? 0 : layout.passes > 1 ? layout.height : 1;
  std::vector<std::uint8_t> held(static_cast<std::size_t>(layout.row_bytes * held_rows));
  if (!read_rows(session, layout, held.data(), image))
    throw BadImage(fmt::format("PNG: {}", session.message));
  return image;
}

}  // namespace microdit::image

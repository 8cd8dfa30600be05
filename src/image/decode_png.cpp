// PNG -> RGB through libpng: every colour type and depth, interlaced or not, alpha on white.
#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <vector>

#include "image/formats.h"
#include "image/png_session.h"

namespace microdit::image {
namespace {

constexpr std::size_t kSignatureBytes = 8;
constexpr std::size_t kHeaderBytes = 33;  // signature and the whole IHDR chunk
// Deflate never shrinks more than about 1032 times: fewer bytes cannot fill the picture.
constexpr std::int64_t kMaxDeflateRatio = 1100;

std::int64_t read_big_endian(const std::uint8_t* p) {
  return std::int64_t{p[0]} << 24 | std::int64_t{p[1]} << 16 | std::int64_t{p[2]} << 8 | p[3];
}

struct PngLayout {
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::int64_t packed_row_bytes = 0;  ///< as stored, before conversion to 8 bits
  std::int64_t row_bytes = 0;         ///< as delivered
  bool has_alpha = false;
};

bool read_layout(PngSession& session, PngLayout& layout) {
  png_structp png = session.png;
  png_infop info = session.info;
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_read_info(png, info);
  layout.packed_row_bytes = static_cast<std::int64_t>(png_get_rowbytes(png, info));
  png_set_expand(png);    // palettes, 1 to 4 bit grey, tRNS
  png_set_strip_16(png);  // the high byte, as Pillow
  png_set_gray_to_rgb(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  layout.width = png_get_image_width(png, info);
  layout.height = png_get_image_height(png, info);
  layout.row_bytes = static_cast<std::int64_t>(png_get_rowbytes(png, info));
  layout.has_alpha = png_get_channels(png, info) == 4;
  return true;
}

bool read_rows(PngSession& session, png_bytepp rows) {
  if (setjmp(png_jmpbuf(session.png)) != 0) return false;
  png_read_image(session.png, rows);
  return true;
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
  return bytes.size() >= kSignatureBytes && png_sig_cmp(data_of(bytes), 0, kSignatureBytes) == 0;
}

ImageInfo probe_png(Bytes bytes) {
  const std::uint8_t* data = data_of(bytes);
  if (bytes.size() < kHeaderBytes || !std::equal(data + 12, data + 16, "IHDR")) {
    throw BadImage("PNG: no header");
  }
  const ImageInfo info{Format::png, read_big_endian(data + 16), read_big_endian(data + 20)};
  if (info.width < 1 || info.height < 1) throw BadImage("PNG: the picture is empty");
  return info;
}

Image decode_png(Bytes bytes, const DecodeRules& rules) {
  PngSession session(bytes);
  const auto max_side =
      static_cast<png_uint_32>(std::clamp<std::int64_t>(rules.max_side, 1, PNG_UINT_31_MAX));
  png_set_user_limits(session.png, max_side, max_side);
  ignore_ancillary_chunks(session.png);

  PngLayout layout;
  if (!read_layout(session, layout)) throw BadImage(fmt::format("PNG: {}", session.message));
  check_limits({Format::png, layout.width, layout.height}, rules);
  const std::int64_t stored = layout.packed_row_bytes * layout.height;
  if (stored / kMaxDeflateRatio > static_cast<std::int64_t>(bytes.size())) {
    throw BadImage(
        fmt::format("PNG: {} bytes cannot hold {} x {} pixels", bytes.size(), layout.width, layout.height));
  }

  Image image(layout.height, layout.width);
  std::vector<std::uint8_t> rgba(layout.has_alpha ? static_cast<std::size_t>(layout.row_bytes * layout.height)
                                                  : 0);
  std::vector<png_bytep> rows;
  for (std::int64_t y = 0; y < layout.height; ++y) {
    rows.push_back(layout.has_alpha ? rgba.data() + y * layout.row_bytes : image.row(y));
  }
  if (!read_rows(session, rows.data())) throw BadImage(fmt::format("PNG: {}", session.message));
  for (std::int64_t y = 0; layout.has_alpha && y < layout.height; ++y) {
    compose_on_white(rows[static_cast<std::size_t>(y)], image.row(y), layout.width);
  }
  return image;
}

}  // namespace microdit::image

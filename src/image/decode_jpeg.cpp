// JPEG -> RGB through libjpeg-turbo, with the choices that make it equal to Pillow.
#include <cstdio>  // jpeglib.h needs it

#include <fmt/format.h>
#include <jerror.h>
#include <jpeglib.h>

#include <csetjmp>
#include <cstring>
#include <new>
#include <optional>
#include <string_view>
#include <vector>

#include "image/formats.h"

namespace microdit::image {
namespace {

constexpr int kStartOfScan = 0xda;
constexpr int kEndOfImage = 0xd9;
constexpr int kRestartFirst = 0xd0;
constexpr int kStartOfImage = 0xd8;
constexpr int kFirstApplication = 0xe0;
constexpr int kTemporary = 0x01;
/// Huffman codes give every block of 8 x 8 pixels its DC coefficient, in one bit at least: fewer bytes cannot fill the picture,
/// whatever the number of components and scans (a grey progressive one of one colour comes near to it). Arithmetic codes may.
constexpr std::int64_t kMaxPixelsPerByte = 8 * 64;

bool has_segment(int marker) {
  return !(marker >= kRestartFirst && marker <= kEndOfImage) && marker != kTemporary;
}

/// Start-of-frame markers: 0xc0 to 0xcf without DHT, JPG and DAC.
bool is_frame(int marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

/// Walks from marker to marker; entropy-coded data (whose 0xff bytes are stuffed) is passed over like any
/// gap, and so is a marker in it whose segment would not fit into the file.
class MarkerWalk {
 public:
  explicit MarkerWalk(Bytes bytes) : data_(data_of(bytes)), size_(bytes.size()) {}

  /// The next marker, or nothing at the end of the bytes. Afterwards segment() holds its payload.
  std::optional<int> next() {
    while (position_ + 1 < size_) {
      const auto* ff =
          static_cast<const std::uint8_t*>(std::memchr(data_ + position_, 0xff, size_ - position_ - 1));
      if (ff == nullptr) break;
      position_ = static_cast<std::size_t>(ff - data_);
      const int code = data_[position_ + 1];
      if (code == 0x00 || code == 0xff || (code >= kRestartFirst && code < kStartOfImage)) {
        ++position_;
        continue;
      }
      position_ += 2;
      segment_ = {};
      if (!has_segment(code)) return code;
      if (position_ + 2 > size_) return std::nullopt;
      const std::size_t length = static_cast<std::size_t>(data_[position_]) << 8U | data_[position_ + 1];
      if (length < 2 || position_ + length > size_) {
        if (!in_scans_) return std::nullopt;
        stray_ = true;
        continue;
      }
      in_scans_ |= code == kStartOfScan;
      segment_ = {data_ + position_ + 2, length - 2};
      position_ += length;
      return code;
    }
    return std::nullopt;
  }
  std::span<const std::uint8_t> segment() const { return segment_; }
  /// Whether such a marker was passed over.
  bool stray() const { return stray_; }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t position_ = 2;  // behind the start of image
  bool in_scans_ = false, stray_ = false;
  std::span<const std::uint8_t> segment_;
};

[[noreturn]] void truncated() {
  throw BadImage("JPEG: the file is truncated");
}

struct Scans {
  int count = 0;
  bool stray = false;  ///< a marker among their data hides what follows it
};

/// Pillow refuses a file whose end of image is missing; libjpeg would fill the rest with grey.
Scans count_scans(Bytes bytes) {
  MarkerWalk walk(bytes);
  int scans = 0;
  while (const auto marker = walk.next()) {
    if (*marker == kEndOfImage && scans > 0) return {scans, walk.stray()};
    scans += *marker == kStartOfScan;
  }
  truncated();
}

/// CMYK is stored inverted (Adobe's convention, which Pillow assumes); the formula is Pillow's conversion.
void inverted_cmyk_to_rgb(const std::uint8_t* cmyk, std::uint8_t* rgb, std::int64_t pixels) {
  for (std::int64_t i = 0; i < pixels; ++i, cmyk += 4, rgb += 3) {
    const int key = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[c]) * key + 128;
      rgb[c] = static_cast<std::uint8_t>(key - (((product >> 8) + product) >> 8));
    }
  }
}

/// libjpeg over memory: errors jump out and leave a message, warnings are counted when pixels suffer from them.
struct JpegSession {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  std::jmp_buf out{};
  char message[JMSG_LENGTH_MAX] = {};
  bool no_memory = false;
  int bad_data = 0;

  explicit JpegSession(Bytes bytes) {
    jpeg.err = jpeg_std_error(&errors);
    jpeg.client_data = this;
    errors.error_exit = [](j_common_ptr common) {
      auto* self = static_cast<JpegSession*>(common->client_data);
      common->err->format_message(common, self->message);
      self->no_memory = common->err->msg_code == JERR_OUT_OF_MEMORY;
      std::longjmp(self->out, 1);
    };
    errors.output_message = [](j_common_ptr) {};
    errors.emit_message = [](j_common_ptr common, int level) {
      const int code = common->err->msg_code;
      if (level < 0 && (code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_MUST_RESYNC ||
                        code == JWRN_JPEG_EOF))
        ++static_cast<JpegSession*>(common->client_data)->bad_data;
    };
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, data_of(bytes), static_cast<unsigned long>(bytes.size()));
  }
  ~JpegSession() { jpeg_destroy_decompress(&jpeg); }
  JpegSession(const JpegSession&) = delete;

  [[noreturn]] void fail() const {
    if (no_memory) throw std::bad_alloc();
    throw BadImage(fmt::format("JPEG: {}", message));
  }
};

bool read_header(JpegSession& session) {
  if (setjmp(session.out) != 0) return false;
  jpeg_read_header(&session.jpeg, TRUE);
  const bool cmyk = session.jpeg.jpeg_color_space == JCS_CMYK || session.jpeg.jpeg_color_space == JCS_YCCK;
  session.jpeg.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  session.jpeg.dct_method = JDCT_ISLOW;  // and the smooth chroma that is libjpeg's default: Pillow's choices
  return true;
}

/// `line` holds one row of CMYK.
bool read_rows(JpegSession& session, Image& image, std::uint8_t* line) {
  if (setjmp(session.out) != 0) return false;
  jpeg_decompress_struct& jpeg = session.jpeg;
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    const std::int64_t y = jpeg.output_scanline;
    JSAMPROW row = jpeg.out_color_space == JCS_CMYK ? line : image.row(y);
    jpeg_read_scanlines(&jpeg, &row, 1);
    if (jpeg.out_color_space == JCS_CMYK) inverted_cmyk_to_rgb(line, image.row(y), image.width);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
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
    if (info.width < 1 || info.height < 1)
      throw BadImage("JPEG: the picture is empty", BadImage::Why::no_header);
    return info;
  }
  throw BadImage("JPEG: no frame header", BadImage::Why::no_header);
}

Metadata jpeg_metadata(Bytes bytes) {
  using namespace std::string_view_literals;
  constexpr std::string_view kExif = "Exif\0\0"sv, kXmp = "http://ns.adobe.com/xap/1.0/\0"sv;
  Metadata metadata;
  MarkerWalk walk(bytes);
  while (const auto marker = walk.next()) {
    if (*marker == kStartOfScan) break;
    if (*marker != kFirstApplication + 1) continue;
    const std::string_view text(reinterpret_cast<const char*>(walk.segment().data()), walk.segment().size());
    auto rest = std::as_bytes(walk.segment());
    if (text.starts_with(kExif)) {  // one block may take several segments
      if (metadata.exif) rest = rest.subspan(kExif.size());
      std::vector<std::byte>& exif = metadata.exif ? *metadata.exif : metadata.exif.emplace();
      exif.insert(exif.end(), rest.begin(), rest.end());
    } else if (text.starts_with(kXmp)) {
      rest = rest.subspan(kXmp.size());
      metadata.xmp.assign(rest.begin(), rest.end());
    }
  }
  return metadata;
}

Image decode_jpeg(Bytes bytes, const DecodeRules& rules, bool* damaged_inside) {
  const auto [scans, stray] = count_scans(bytes);
  JpegSession session(bytes);
  if (!read_header(session)) session.fail();
  // The library's own reading of the header decides.
  const ImageInfo info{Format::jpeg, session.jpeg.image_width, session.jpeg.image_height};
  check_limits(info, rules);
  if (scans > rules.max_scans || (scans > 1 && info.width * info.height > rules.max_scan_pixels / scans)) {
    throw BadImage(
        fmt::format("JPEG: {} scans of {} x {} pixels are over the limit", scans, info.width, info.height),
        BadImage::Why::too_large);
  }
  if (stray && jpeg_has_multiple_scans(&session.jpeg))
    truncated();  // as Pillow: the later scans are not found
  if (!session.jpeg.arith_code && info.width * info.height / kMaxPixelsPerByte > std::ssize(bytes)) {
    throw BadImage(
        fmt::format("JPEG: {} bytes cannot hold {} x {} pixels", bytes.size(), info.width, info.height));
  }
  const int components = session.jpeg.num_components;
  if (components != 1 && components != 3 && components != 4)
    throw BadImage(fmt::format("JPEG: {} components", components), BadImage::Why::unsupported);
  Image image(info.height, info.width);
  std::vector<std::uint8_t> line(
      session.jpeg.out_color_space == JCS_CMYK ? static_cast<std::size_t>(info.width * 4) : 0);
  if (!read_rows(session, image, line.data())) session.fail();
  if (damaged_inside) *damaged_inside = session.bad_data > 0;
  return image;
}

}  // namespace microdit::image

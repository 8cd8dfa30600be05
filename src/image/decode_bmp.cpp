// BMP -> RGB: 1 to 32 bits, palettes, bit fields, run lengths; as Pillow reads them.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "image/formats.h"

namespace microdit::image {
namespace {

constexpr std::uint32_t kPlain = 0, kRunLength8 = 1, kRunLength4 = 2, kBitFields = 3, kAlphaBitFields = 6;

struct Field {
  int shift = 0;
  std::uint32_t most = 0;  ///< largest value
  static Field of(std::uint32_t mask) {
    if (mask == 0) return {};
    const int shift = std::countr_zero(mask);
    return {shift, mask >> shift};
  }
  std::uint8_t value(std::uint32_t pixel) const {
    return most == 0 ? 0 : static_cast<std::uint8_t>(std::uint64_t{pixel >> shift & most} * 255 / most);
  }
};

struct Header {
  std::int64_t width = 0, height = 0;
  bool top_down = false;
  int bits = 0;
  std::uint32_t compression = 0;
  std::size_t pixels = 0;         ///< offset of the data
  std::array<Field, 4> fields{};  ///< red, green, blue, alpha
  std::array<std::array<std::uint8_t, 3>, 256> palette{};
};

class Words {
 public:
  explicit Words(Bytes bytes) : data_(data_of(bytes)), size_(bytes.size()) {}
  std::uint32_t u32(std::size_t at) const { return u16(at) | u16(at + 2) << 16; }
  std::uint32_t u16(std::size_t at) const {
    if (at + 2 > size_) throw BadImage("BMP: the file is truncated", BadImage::Why::no_header);
    return data_[at] | static_cast<std::uint32_t>(data_[at + 1]) << 8;
  }
  std::uint8_t u8(std::size_t at) const {
    if (at >= size_) throw BadImage("BMP: the file is truncated");
    return data_[at];
  }
  std::size_t size() const { return size_; }
  const std::uint8_t* data() const { return data_; }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

[[noreturn]] void unsupported(const std::string& what) {
  throw BadImage("BMP: " + what, BadImage::Why::unsupported);
}

void read_fields(const Words& in, std::size_t header_bytes, Header& header) {
  std::array<std::uint32_t, 4> masks = {};
  if (header.compression == kBitFields || header.compression == kAlphaBitFields) {
    const std::size_t count = header_bytes >= 56 || header.compression == kAlphaBitFields ? 4 : 3;
    for (std::size_t i = 0; i < count; ++i) masks[i] = in.u32(54 + 4 * i);
  } else if (header.bits == 16) {
    masks = {0x7c00, 0x3e0, 0x1f, 0};
  } else {
    masks = {0xff0000, 0xff00, 0xff, 0};
  }
  std::ranges::transform(masks, header.fields.begin(), Field::of);
}

void read_palette(const Words& in, std::size_t at, std::size_t entries, std::size_t entry_bytes,
                  Header& header) {
  for (std::size_t i = 0; i < std::min<std::size_t>(entries, 256); ++i) {
    for (std::size_t c = 0; c < 3; ++c) header.palette[i][c] = in.u8(at + i * entry_bytes + 2 - c);
  }
}

Header read_header(Bytes bytes) {
  const Words in(bytes);
  Header header;
  header.pixels = in.u32(10);
  const std::size_t header_bytes = in.u32(14);
  const bool old = header_bytes == 12;
  if (!old && (header_bytes < 40 || header_bytes > 124))
    unsupported(fmt::format("a header of {} bytes", header_bytes));
  const auto height = static_cast<std::int32_t>(old ? in.u16(20) : in.u32(22));
  header.width = old ? static_cast<std::int32_t>(in.u16(18)) : static_cast<std::int32_t>(in.u32(18));
  header.top_down = height < 0;
  header.height = std::abs(static_cast<std::int64_t>(height));
  header.bits = static_cast<int>(in.u16(old ? 24 : 28));
  header.compression = old ? kPlain : in.u32(30);
  constexpr std::array kBits = {1, 4, 8, 16, 24, 32};
  if (std::ranges::find(kBits, header.bits) == kBits.end()) unsupported(fmt::format("{} bits", header.bits));
  const bool run_length = (header.compression == kRunLength8 && header.bits == 8) ||
                          (header.compression == kRunLength4 && header.bits == 4);
  const bool masked = (header.compression == kBitFields || header.compression == kAlphaBitFields) &&
                      (header.bits == 16 || header.bits == 32);
  if (header.compression != kPlain && !run_length && !masked)
    unsupported(fmt::format("compression {} of {} bits", header.compression, header.bits));
  read_fields(in, header_bytes, header);
  if (header.bits <= 8) {
    const std::size_t used = old ? 0 : in.u32(46);
    const std::size_t all = std::size_t{1} << header.bits;
    read_palette(in, 14 + header_bytes, used == 0 ? all : std::min(used, all), old ? 3 : 4, header);
  }
  return header;
}

std::uint8_t* out_row(const Header& header, Image& image, std::int64_t y) {
  return image.row(header.top_down ? y : header.height - 1 - y);
}

void put_index(const Header& header, std::uint8_t* row, std::int64_t x, unsigned index) {
  std::copy_n(header.palette[index & 0xffU].data(), 3, row + 3 * x);
}

/// One row without run lengths.
void read_row(const Header& header, const std::uint8_t* line, std::uint8_t* row, bool drop_alpha) {
  const int bits = header.bits;
  for (std::int64_t x = 0; x < header.width; ++x) {
    if (bits <= 8) {
      const std::int64_t bit = x * bits;
      put_index(header, row, x, line[bit / 8] >> (8 - bits - bit % 8) & ((1U << bits) - 1));
      continue;
    }
    const std::uint8_t* at = line + x * bits / 8;
    std::uint32_t pixel = at[0] | static_cast<std::uint32_t>(at[1]) << 8;
    if (bits >= 24) pixel |= static_cast<std::uint32_t>(at[2]) << 16;
    if (bits == 32) pixel |= static_cast<std::uint32_t>(at[3]) << 24;
    std::array<std::uint8_t, 4> rgba{};
    for (std::size_t c = 0; c < 4; ++c) rgba[c] = header.fields[c].value(pixel);
    if (header.fields[3].most != 0 && !drop_alpha)
      compose_on_white(rgba.data(), row + 3 * x, 1);
    else
      std::copy_n(rgba.data(), 3, row + 3 * x);
  }
}

/// Run lengths of 8 or 4 bits, as Pillow reads them: pixels come one behind the other, a run ends with its row, literal ones go
/// on in the next; what is passed over has index 0. Whoever does not fill the picture has too few.
class RunReader {
 public:
  RunReader(const Header& header, const Words& in, Image& image)
      : header_(header), in_(in), image_(image), total_(header.width * header.height), at_(header.pixels) {}

  void read() {
    while (done_ < total_) {
      const int count = in_.u8(at_);
      const int value = in_.u8(at_ + 1);
      at_ += 2;
      if (count > 0) {
        const auto fits = std::clamp<std::int64_t>(header_.width - x_, 0, count);
        for (int i = 0; i < fits; ++i) put(half(static_cast<unsigned>(value), i));
        x_ += fits;
      } else if (value == 0) {
        skip((header_.width - done_ % header_.width) % header_.width);
        x_ = 0;
      } else if (value == 1) {
        throw BadImage("BMP: its run lengths end before the picture does");
      } else if (value == 2) {
        skip(in_.u8(at_) + in_.u8(at_ + 1) * header_.width);
        at_ += 2;
        x_ = done_ % header_.width;
      } else {
        read_literal(value);
      }
    }
  }

 private:
  void read_literal(int count) {
    const int bits = header_.bits;
    for (int i = 0; i < count && done_ < total_; ++i)
      put(half(in_.u8(at_ + static_cast<std::size_t>(i * bits / 8)), i));
    at_ += static_cast<std::size_t>((count * bits + 7) / 8);
    at_ += at_ % 2;
    x_ += count;
  }
  unsigned half(unsigned pair, int i) const {
    return header_.bits == 8 ? pair : (i % 2 == 0 ? pair >> 4 : pair & 15U);
  }
  void put(unsigned index) {
    if (done_ == total_) return;
    put_index(header_, out_row(header_, image_, done_ / header_.width), done_ % header_.width, index);
    ++done_;
  }
  void skip(std::int64_t pixels) {
    for (; pixels > 0 && done_ < total_; --pixels) put(0);
  }

  const Header& header_;
  const Words& in_;
  Image& image_;
  const std::int64_t total_;
  std::size_t at_;
  std::int64_t done_ = 0;  ///< pixels of the picture, in the file's order of rows
  std::int64_t x_ = 0;     ///< where a run goes on in its row
};

}  // namespace

bool is_bmp(Bytes bytes) {
  const std::uint8_t* data = data_of(bytes);
  return bytes.size() >= 18 && data[0] == 'B' && data[1] == 'M' && data[15] == 0 && data[16] == 0 &&
         data[17] == 0;
}

ImageInfo probe_bmp(Bytes bytes) {
  const Header header = read_header(bytes);
  if (header.width < 1 || header.height < 1)
    throw BadImage("BMP: the picture is empty", BadImage::Why::no_header);
  return {Format::bmp, header.width, header.height};
}

Image decode_bmp(Bytes bytes, const DecodeRules& rules) {
  const Header header = read_header(bytes);
  const Words in(bytes);
  const bool runs = header.compression == kRunLength8 || header.compression == kRunLength4;
  const auto stride = static_cast<std::uint64_t>((header.width * header.bits + 31) / 32 * 4);
  if (header.pixels > in.size() ||
      (!runs && stride * static_cast<std::uint64_t>(header.height) > in.size() - header.pixels))
    throw BadImage("BMP: the file is truncated");
  Image image(header.height, header.width);
  if (runs) {
    RunReader(header, in, image).read();
    return image;
  }
  for (std::int64_t y = 0; y < header.height; ++y) {
    read_row(header, in.data() + header.pixels + static_cast<std::uint64_t>(y) * stride,
             out_row(header, image, y), rules.drop_alpha);
  }
  return image;
}

}  // namespace microdit::image

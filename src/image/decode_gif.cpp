// GIF -> RGB: the first frame, as Pillow shows it. LZW with a table of prefixes.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "image/formats.h"

namespace microdit::image {
namespace {

using Palette = std::array<std::array<std::uint8_t, 3>, 256>;
constexpr int kMaxCodes = 4096;
constexpr std::size_t kPlaceBytes = 9;  // of a frame: left, top, width, height, flags

[[noreturn]] void truncated() {
  throw BadImage("GIF: the file is truncated");
}

class Cursor {
 public:
  explicit Cursor(Bytes bytes) : data_(data_of(bytes)), size_(bytes.size()) {}
  int byte() {
    if (at_ >= size_) truncated();
    return data_[at_++];
  }
  int word() {
    const int low = byte();
    return low | byte() << 8;
  }
  void skip(std::size_t count) {
    if (count > size_ - at_) truncated();
    at_ += count;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
};

struct Frame {
  std::int64_t width = 0, height = 0;  ///< of the canvas
  std::int64_t left = 0, top = 0, columns = 0, rows = 0;
  bool interlaced = false;
  std::optional<int> transparent;
  Palette palette{};
};

/// Without a palette an index is a grey value.
void read_palette(Cursor& in, int flags, Palette& palette) {
  if ((flags & 0x80) == 0) return;
  const int entries = 2 << (flags & 7);
  for (int i = 0; i < entries; ++i) {
    for (std::uint8_t& value : palette[static_cast<std::size_t>(i)])
      value = static_cast<std::uint8_t>(in.byte());
  }
}

void skip_blocks(Cursor& in) {
  while (const int count = in.byte()) in.skip(static_cast<std::size_t>(count));
}

void read_extension(Cursor& in, Frame& frame) {
  if (in.byte() == 0xf9) {  // graphic control
    const int count = in.byte();
    if (count >= 4) {
      const int flags = in.byte();
      in.word();
      const int index = in.byte();
      if (flags & 1) frame.transparent = index;
      in.skip(static_cast<std::size_t>(count - 4));
    } else {
      in.skip(static_cast<std::size_t>(count));
    }
  }
  skip_blocks(in);
}

/// Everything before the first frame's data.
Frame read_frame(Cursor& in) {
  Frame frame;
  for (std::size_t i = 0; i < frame.palette.size(); ++i) frame.palette[i].fill(static_cast<std::uint8_t>(i));
  in.skip(6);
  frame.width = in.word();
  frame.height = in.word();
  const int flags = in.byte();
  in.skip(2);
  read_palette(in, flags, frame.palette);
  for (;;) {
    const int block = in.byte();
    if (block == 0x21) {
      read_extension(in, frame);
    } else if (block == 0x2c) {
      break;
    } else if (block == 0x3b) {
      throw BadImage("GIF: no picture in it");
    }  // else: stray bytes, as Pillow passes over them
  }
  frame.left = in.word();
  frame.top = in.word();
  frame.columns = in.word();
  frame.rows = in.word();
  const int local = in.byte();
  frame.interlaced = (local & 0x40) != 0;
  read_palette(in, local, frame.palette);
  frame.width = std::max(frame.width, frame.left + frame.columns);
  frame.height = std::max(frame.height, frame.top + frame.rows);
  return frame;
}

/// Codes of 3 to 12 bits out of blocks of at most 255 bytes.
class CodeReader {
 public:
  explicit CodeReader(Cursor& in) : in_(in) {}
  int next(int bits) {
    while (held_ < bits) {
      if (left_ == 0 && (left_ = in_.byte()) == 0) truncated();
      buffer_ |= static_cast<std::uint32_t>(in_.byte()) << held_;
      held_ += 8;
      --left_;
    }
    const int code = static_cast<int>(buffer_ & ((1U << bits) - 1));
    buffer_ >>= bits;
    held_ -= bits;
    return code;
  }

 private:
  Cursor& in_;
  std::uint32_t buffer_ = 0;
  int held_ = 0;
  int left_ = 0;
};

/// Where the pixels of a frame go, row by row or in the four passes of an interlaced one.
class Placer {
 public:
  Placer(const Frame& frame, std::vector<std::uint8_t>& canvas) : frame_(frame), canvas_(canvas) {}
  bool full() const { return placed_ == frame_.columns * frame_.rows; }
  void put(std::uint8_t index) {
    canvas_[static_cast<std::size_t>((frame_.top + y_) * frame_.width + frame_.left + x_)] = index;
    ++placed_;
    if (++x_ < frame_.columns) return;
    x_ = 0;
    y_ += frame_.interlaced ? kStep[pass_] : 1;
    while (frame_.interlaced && y_ >= frame_.rows && pass_ < 3) y_ = kFirst[++pass_];
  }

 private:
  static constexpr std::array<std::int64_t, 4> kFirst = {0, 4, 2, 1};
  static constexpr std::array<std::int64_t, 4> kStep = {8, 8, 4, 2};
  const Frame& frame_;
  std::vector<std::uint8_t>& canvas_;
  std::int64_t x_ = 0, y_ = 0, placed_ = 0;
  std::size_t pass_ = 0;
};

void read_pixels(Cursor& in, const Frame& frame, std::vector<std::uint8_t>& canvas) {
  const int least = in.byte();
  if (least < 1 || least > 11) throw BadImage("GIF: a code size that cannot be");
  const int clear = 1 << least;
  std::array<std::uint16_t, kMaxCodes> prefix{};
  std::array<std::uint8_t, kMaxCodes> last{};
  std::array<std::uint8_t, kMaxCodes + 1> text{};
  for (int i = 0; i < clear; ++i) last[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(i);
  CodeReader codes(in);
  Placer placer(frame, canvas);
  int bits = least + 1, free = clear + 2, previous = -1;
  std::uint8_t first = 0;
  while (!placer.full()) {
    int code = codes.next(bits);
    if (code == clear) {
      bits = least + 1;
      free = clear + 2;
      previous = -1;
      continue;
    }
    if (code == clear + 1) truncated();
    if (code > free || (code == free && previous < 0) || (previous < 0 && code > clear))
      throw BadImage("GIF: its data are damaged");
    const int current = code;
    std::size_t length = 0;
    if (code == free) {
      text[length++] = first;
      code = previous;
    }
    for (; code >= clear; code = prefix[static_cast<std::size_t>(code)])
      text[length++] = last[static_cast<std::size_t>(code)];
    text[length++] = first = static_cast<std::uint8_t>(code);
    while (length > 0 && !placer.full()) placer.put(text[--length]);
    if (previous >= 0 && free < kMaxCodes) {
      prefix[static_cast<std::size_t>(free)] = static_cast<std::uint16_t>(previous);
      last[static_cast<std::size_t>(free)] = first;
      if (++free == 1 << bits && bits < 12) ++bits;
    }
    previous = current;
  }
}

}  // namespace

bool is_gif(Bytes bytes) {
  const std::uint8_t* data = data_of(bytes);
  const auto starts = [&](const char* text) { return std::equal(data, data + 6, text); };
  return bytes.size() >= 6 && (starts("GIF87a") || starts("GIF89a"));
}

ImageInfo probe_gif(Bytes bytes) {
  Cursor in(bytes);
  const Frame frame = read_frame(in);
  if (frame.columns < 1 || frame.rows < 1)
    throw BadImage("GIF: the picture is empty", BadImage::Why::no_header);
  return {Format::gif, frame.width, frame.height};
}

bool gif_has_frames(Bytes bytes) {
  Cursor in(bytes);
  read_frame(in);
  try {
    in.skip(1);  // the code size
    skip_blocks(in);
    for (;;) {
      const int block = in.byte();
      if (block == 0x3b) return false;
      if (block == 0x2c) {
        in.skip(kPlaceBytes);
        return true;
      }
      if (block == 0x21) {
        in.skip(1);
        skip_blocks(in);
      }
    }
  } catch (const BadImage&) {
    return false;  // it ends before a second one
  }
}

Image decode_gif(Bytes bytes, const DecodeRules& rules) {
  Cursor in(bytes);
  const Frame frame = read_frame(in);
  // Around a small frame lies the transparent colour, or the first one.
  std::vector<std::uint8_t> canvas(static_cast<std::size_t>(frame.width * frame.height),
                                   static_cast<std::uint8_t>(frame.transparent.value_or(0)));
  read_pixels(in, frame, canvas);
  Palette colours = frame.palette;
  if (frame.transparent && !rules.drop_alpha) colours[static_cast<std::size_t>(*frame.transparent)].fill(255);
  Image image(frame.height, frame.width);
  for (std::size_t i = 0; i < canvas.size(); ++i)
    std::copy_n(colours[canvas[i]].data(), 3, image.pixels.data() + 3 * i);
  return image;
}

}  // namespace microdit::image

// Pictures in a grid: captions beneath the cells, a title on top.
#include "image/grid.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "image/font.h"
#include "image/resize.h"

namespace microdit::image {
namespace {

constexpr std::int64_t kLegibleCell = 128;  // smaller pictures are enlarged: a caption needs the room
constexpr std::int64_t kMaxCaptionLines = 3;
constexpr std::int64_t kCaptionGap = 4;
constexpr int kTitleScale = 2;

Image enlarge(const Image& source, std::int64_t factor) {
  Image result(source.height * factor, source.width * factor);
  for (std::int64_t y = 0; y < result.height; ++y) {
    std::uint8_t* out = result.row(y);
    for (std::int64_t x = 0; x < result.width; ++x) {
      std::memcpy(out + x * 3, source.row(y / factor) + x / factor * 3, 3);
    }
  }
  return result;
}

/// The picture at the largest size that fits the cell: whole factors up, bicubic down.
Image fit(const Image& picture, std::int64_t cell) {
  const std::int64_t longer = std::max(picture.width, picture.height);
  if (longer <= cell) return enlarge(picture, cell / longer);
  const auto scaled = [&](std::int64_t side) {
    return std::max<std::int64_t>((side * cell + longer / 2) / longer, 1);
  };
  return resize_bicubic(picture, scaled(picture.width), scaled(picture.height));
}

void paste(Image& canvas, const Image& picture, std::int64_t x, std::int64_t y) {
  for (std::int64_t row = 0; row < picture.height; ++row) {
    std::memcpy(canvas.row(y + row) + x * 3, picture.row(row), static_cast<std::size_t>(picture.width * 3));
  }
}

std::string shorten(const std::string& text, std::size_t letters) {
  if (text.size() <= letters) return text;
  if (letters <= 3) return text.substr(0, letters);
  std::string kept = text.substr(0, letters - 3);
  kept.erase(kept.find_last_not_of(' ') + 1);
  return kept + "...";
}

std::size_t letters_within(std::int64_t width, int scale) {
  return static_cast<std::size_t>(std::max<std::int64_t>((width / scale + 1) / kGlyphAdvance, 1));
}

/// Breaks at spaces into at most kMaxCaptionLines lines; the last one takes what is left, shortened.
std::vector<std::string> wrap(const std::string& text, std::int64_t width) {
  const std::size_t letters = letters_within(width, 1);
  std::string rest = to_ascii(text);
  std::vector<std::string> lines;
  while (!rest.empty()) {
    rest.erase(0, std::min(rest.find_first_not_of(' '), rest.size()));
    if (rest.empty()) break;
    if (rest.size() <= letters || std::ssize(lines) == kMaxCaptionLines - 1) {
      lines.push_back(shorten(rest, letters));
      break;
    }
    const std::size_t space = rest.rfind(' ', letters);
    const std::size_t cut = space == std::string::npos || space == 0 ? letters : space;
    lines.push_back(rest.substr(0, cut));
    rest.erase(0, cut);
  }
  return lines;
}

std::int64_t largest_side(const std::vector<Image>& pictures) {
  std::int64_t side = 0;
  for (const Image& picture : pictures) side = std::max({side, picture.width, picture.height});
  return side;
}

std::int64_t default_cell(std::int64_t side) {
  return side * ((kLegibleCell + side - 1) / side);
}

}  // namespace

Image grid(const std::vector<Image>& pictures, const std::vector<std::string>& captions,
           const GridStyle& style) {
  core::check(!pictures.empty(), "a grid of no pictures");
  for (const Image& picture : pictures)
    core::check(picture.width > 0 && picture.height > 0, "an empty picture");
  const auto count = static_cast<std::int64_t>(pictures.size());
  const std::int64_t cell = style.cell > 0 ? style.cell : default_cell(largest_side(pictures));
  const std::int64_t gap = std::max<std::int64_t>(style.padding, 0);
  const std::int64_t square = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  const std::int64_t columns = std::min(style.columns > 0 ? style.columns : square, count);
  const std::int64_t rows = (count + columns - 1) / columns;

  std::vector<std::vector<std::string>> lines(pictures.size());
  std::int64_t most_lines = 0;
  for (std::size_t i = 0; i < std::min(captions.size(), pictures.size()); ++i) {
    lines[i] = wrap(captions[i], cell);
    most_lines = std::max(most_lines, static_cast<std::int64_t>(lines[i].size()));
  }
  const std::int64_t caption = most_lines > 0 ? kCaptionGap + most_lines * kLineHeight : 0;
  const std::int64_t head = style.title.empty() ? 0 : kLineHeight * kTitleScale + gap;
  Image canvas(head + gap + rows * (cell + caption + gap), gap + columns * (cell + gap));

  if (head > 0) {
    const std::string title =
        shorten(to_ascii(style.title), letters_within(canvas.width - 2 * gap, kTitleScale));
    draw_text(canvas, gap, gap + kTitleScale, title, kTitleScale);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t x = gap + i % columns * (cell + gap);
    const std::int64_t y = head + gap + i / columns * (cell + caption + gap);
    const auto index = static_cast<std::size_t>(i);
    const Image picture = fit(pictures[index], cell);
    paste(canvas, picture, x + (cell - picture.width) / 2, y + (cell - picture.height) / 2);
    for (std::size_t line = 0; line < lines[index].size(); ++line) {
      const std::int64_t inset = (cell - text_width(lines[index][line])) / 2;
      draw_text(canvas, x + std::max<std::int64_t>(inset, 0),
                y + cell + kCaptionGap + static_cast<std::int64_t>(line) * kLineHeight, lines[index][line]);
    }
  }
  return canvas;
}

}  // namespace microdit::image

// Pictures in a grid: captions beneath the cells, a title on top.
#include "image/grid.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "image/cells.h"
#include "image/font.h"

namespace microdit::image {
namespace {

constexpr std::int64_t kMaxCaptionLines = 3;

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
    lines[i] = wrap(captions[i], cell, kMaxCaptionLines);
    most_lines = std::max(most_lines, static_cast<std::int64_t>(lines[i].size()));
  }
  const std::int64_t caption = most_lines > 0 ? kCaptionGap + most_lines * kLineHeight : 0;
  const std::int64_t head = style.title.empty() ? 0 : kLineHeight * kTitleScale + gap;
  Image canvas(head + gap + rows * (cell + caption + gap), gap + columns * (cell + gap));

  if (head > 0) {
    const std::string title = shorten(to_ascii(style.title), canvas.width - 2 * gap, kTitleScale);
    draw_text(canvas, gap, gap + kTitleScale, title, kTitleScale);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t x = gap + i % columns * (cell + gap);
    const std::int64_t y = head + gap + i / columns * (cell + caption + gap);
    const auto index = static_cast<std::size_t>(i);
    paste_into_cell(canvas, pictures[index], x, y, cell);
    for (std::size_t line = 0; line < lines[index].size(); ++line) {
      const std::int64_t inset = (cell - text_width(lines[index][line])) / 2;
      draw_text(canvas, x + std::max<std::int64_t>(inset, 0),
                y + cell + kCaptionGap + static_cast<std::int64_t>(line) * kLineHeight, lines[index][line]);
    }
  }
  return canvas;
}

}  // namespace microdit::image

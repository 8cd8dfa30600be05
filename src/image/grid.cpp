// Pictures in a grid: captions beneath the cells, a title on top.
#include "image/grid.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "image/cells.h"

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

  const TextStyle beneath{.width = cell, .lines = kMaxCaptionLines, .centred = true};
  const std::size_t captioned = std::min(captions.size(), pictures.size());
  std::int64_t caption = 0;
  for (std::size_t i = 0; i < captioned; ++i)
    if (!captions[i].empty())
      caption = std::max(caption, kCaptionGap + text_size(captions[i], beneath).height);
  const std::int64_t width = gap + columns * (cell + gap);
  const TextStyle head{.size = kTitleSize, .bold = true, .width = std::max(width - 2 * gap, std::int64_t{1})};
  const std::int64_t top = style.title.empty() ? 0 : text_size(style.title, head).height + gap;
  Canvas canvas(top + gap + rows * (cell + caption + gap), width);

  canvas.text(gap, gap, style.title, head);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t x = gap + i % columns * (cell + gap);
    const std::int64_t y = top + gap + i / columns * (cell + caption + gap);
    const auto index = static_cast<std::size_t>(i);
    paste_into_cell(canvas, pictures[index], x, y, cell);
    if (index < captioned) canvas.text(x, y + cell + kCaptionGap, captions[index], beneath);
  }
  return canvas.image();
}

}  // namespace microdit::image

// Pictures laid out for people: a grid with captions under the cells.
#pragma once

#include <string>
#include <vector>

#include "image/image.h"

namespace microdit::image {

struct GridStyle {
  std::int64_t columns = 0;  ///< 0 = about square
  /// Cell side in pixels; 0 = the largest picture, times the whole factor that makes it 128 or more.
  /// Smaller pictures are enlarged by whole factors and centred, larger ones reduced.
  std::int64_t cell = 0;
  std::int64_t padding = 8;
  std::string title{};
};

/// Captions (may be empty) are drawn with the built-in bitmap font, wrapped and shortened to the cell's
/// width.
Image grid(const std::vector<Image>& pictures, const std::vector<std::string>& captions,
           const GridStyle& style = {});

/// Draws ASCII text (others as '?') with the built-in 5x7-style font; returns the width drawn.
std::int64_t draw_text(Image& canvas, std::int64_t x, std::int64_t y, const std::string& text, int scale = 1);

}  // namespace microdit::image

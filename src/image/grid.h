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

/// Captions (UTF-8, may be empty) are wrapped to the cell's width, three lines at most.
Image grid(const std::vector<Image>& pictures, const std::vector<std::string>& captions,
           const GridStyle& style = {});

}  // namespace microdit::image

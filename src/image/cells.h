// What grids and sheets share: pictures fitted into cells.
#pragma once

#include <cstdint>
#include <vector>

#include "image/canvas.h"

namespace microdit::image {

inline constexpr std::int64_t kCaptionGap = 4;

/// The side of a cell for pictures of `side` pixels: the whole multiple that leaves room for a caption.
std::int64_t default_cell(std::int64_t side);
std::int64_t largest_side(const std::vector<Image>& pictures);

/// Pastes the picture at the largest size that fits the cell at (x, y), centred: whole factors up, bicubic down.
void paste_into_cell(Canvas& canvas, const Image& picture, std::int64_t x, std::int64_t y, std::int64_t cell);

}  // namespace microdit::image

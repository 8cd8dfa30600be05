// What grids and sheets share: pictures fitted into cells, captions into a width.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/image.h"

namespace microdit::image {

inline constexpr std::int64_t kCaptionGap = 4;
inline constexpr int kTitleScale = 2;

/// The side of a cell for pictures of `side` pixels: the whole multiple that leaves room for a caption.
std::int64_t default_cell(std::int64_t side);
std::int64_t largest_side(const std::vector<Image>& pictures);

/// Pastes the picture at the largest size that fits the cell at (x, y), centred: whole factors up, bicubic down.
void paste_into_cell(Image& canvas, const Image& picture, std::int64_t x, std::int64_t y, std::int64_t cell);

/// ASCII text, cut to the width with "..." at the end.
std::string shorten(const std::string& ascii, std::int64_t width, int scale = 1);

/// Breaks at spaces into at most `most` lines; the last one takes what is left, shortened.
std::vector<std::string> wrap(const std::string& text, std::int64_t width, std::int64_t most, int scale = 1);

}  // namespace microdit::image

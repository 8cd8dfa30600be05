// Fitting into cells.
#include "image/cells.h"

#include <algorithm>
#include <cstring>

#include "image/resize.h"

namespace microdit::image {
namespace {

constexpr std::int64_t kLegibleCell = 128;  // smaller pictures are enlarged: a caption needs the room

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

Image fit(const Image& picture, std::int64_t cell) {
  const std::int64_t longer = std::max(picture.width, picture.height);
  if (longer <= cell) return enlarge(picture, cell / longer);
  const auto scaled = [&](std::int64_t side) {
    return std::max<std::int64_t>((side * cell + longer / 2) / longer, 1);
  };
  return resize_bicubic(picture, scaled(picture.width), scaled(picture.height));
}

}  // namespace

std::int64_t default_cell(std::int64_t side) {
  return side * ((kLegibleCell + side - 1) / side);
}

std::int64_t largest_side(const std::vector<Image>& pictures) {
  std::int64_t side = 0;
  for (const Image& picture : pictures) side = std::max({side, picture.width, picture.height});
  return side;
}

void paste_into_cell(Canvas& canvas, const Image& picture, std::int64_t x, std::int64_t y,
                     std::int64_t cell) {
  const std::int64_t scale = canvas.scale();
  const Image fitted = fit(picture, cell * scale);
  canvas.paste(fitted, x + (cell - fitted.width / scale) / 2, y + (cell - fitted.height / scale) / 2);
}

}  // namespace microdit::image

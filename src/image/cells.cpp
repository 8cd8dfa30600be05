// Fitting into cells.
#include "image/cells.h"

#include <algorithm>
#include <cstring>

#include "image/font.h"
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

std::size_t letters_within(std::int64_t width, int scale) {
  return static_cast<std::size_t>(std::max<std::int64_t>((width / scale + 1) / kGlyphAdvance, 1));
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

void paste_into_cell(Image& canvas, const Image& picture, std::int64_t x, std::int64_t y, std::int64_t cell) {
  const Image fitted = fit(picture, cell);
  const std::int64_t left = x + (cell - fitted.width) / 2, top = y + (cell - fitted.height) / 2;
  for (std::int64_t row = 0; row < fitted.height; ++row) {
    std::memcpy(canvas.row(top + row) + left * 3, fitted.row(row),
                static_cast<std::size_t>(fitted.width * 3));
  }
}

std::string shorten(const std::string& ascii, std::int64_t width, int scale) {
  const std::size_t letters = letters_within(width, scale);
  if (ascii.size() <= letters) return ascii;
  if (letters <= 3) return ascii.substr(0, letters);
  std::string kept = ascii.substr(0, letters - 3);
  kept.erase(kept.find_last_not_of(' ') + 1);
  return kept + "...";
}

std::vector<std::string> wrap(const std::string& text, std::int64_t width, std::int64_t most, int scale) {
  const std::size_t letters = letters_within(width, scale);
  std::string rest = legible(text);
  std::vector<std::string> lines;
  while (!rest.empty()) {
    rest.erase(0, std::min(rest.find_first_not_of(' '), rest.size()));
    if (rest.empty()) break;
    if (rest.size() <= letters || std::ssize(lines) == most - 1) {
      lines.push_back(shorten(rest, width, scale));
      break;
    }
    const std::size_t space = rest.rfind(' ', letters);
    const std::size_t cut = space == std::string::npos || space == 0 ? letters : space;
    lines.push_back(rest.substr(0, cut));
    rest.erase(0, cut);
  }
  return lines;
}

}  // namespace microdit::image

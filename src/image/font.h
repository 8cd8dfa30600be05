// The built-in bitmap font: printable ASCII in cells of 5 x 9 (7 rows above the base line, 2 below).
#pragma once

#include <cstdint>
#include <string>

#include "image/image.h"

namespace microdit::image {

struct Color {
  std::uint8_t red = 0;
  std::uint8_t green = 0;
  std::uint8_t blue = 0;
};

inline constexpr Color kTextColor{51, 51, 51};
inline constexpr Color kFaintTextColor{110, 110, 110};
inline constexpr std::int64_t kGlyphAdvance = 6;  ///< pixels from one letter to the next at scale 1
inline constexpr std::int64_t kGlyphHeight = 9;
inline constexpr std::int64_t kCapHeight = 7;  ///< of capitals and digits
inline constexpr std::int64_t kLineHeight = 11;

struct TextStyle {
  int scale = 1;
  Color color = kTextColor;
  bool upward = false;  ///< written from bottom to top; (x, y) is then the lower left corner
};

/// The text with one '?' for each character outside printable ASCII (one per UTF-8 sequence).
std::string to_ascii(const std::string& text);
/// The same for a caption: "(another script)" for a text of which the font lacks more than half the letters.
std::string legible(const std::string& text);
/// Width in pixels of a text that is already ASCII.
std::int64_t text_width(const std::string& ascii, int scale = 1);
/// Draws at the upper left corner (x, y), clipped to the canvas; returns the width drawn.
std::int64_t draw_text_styled(Image& canvas, std::int64_t x, std::int64_t y, const std::string& text,
                              const TextStyle& style);

}  // namespace microdit::image

// Drawing for people: lines, boxes and text in any script, by Cairo and Pango with the fonts that fontconfig finds.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "image/image.h"

namespace microdit::image {

struct Color {
  std::uint8_t red = 0;
  std::uint8_t green = 0;
  std::uint8_t blue = 0;
};

inline constexpr Color kTextColor{51, 51, 51};
inline constexpr Color kFaintTextColor{110, 110, 110};
inline constexpr double kTextSize = 12;  ///< pixels, of captions and labels
inline constexpr double kTitleSize = 17;

struct TextStyle {
  double size = kTextSize;  ///< pixels of an em
  Color color = kTextColor;
  bool bold = false;
  std::int64_t width =
      0;  ///< where lines are broken, and the last one is shortened with an ellipsis; 0 = nowhere
  std::int64_t lines = 1;  ///< at most, where there is a width
  bool centred = false;    ///< within the width
  bool upward = false;     ///< written from bottom to top; (x, y) is then the lower left corner
};

struct Size {
  std::int64_t width = 0, height = 0;
};

/// What a text takes, pixels. UTF-8; what is none becomes U+FFFD, a control character a space; of a text of over 4 KiB the
/// beginning counts.
Size text_size(const std::string& text, const TextStyle& style = {});

struct Point {
  double x = 0, y = 0;
};
/// A rectangle of whole pixels.
struct Box {
  std::int64_t x = 0, y = 0, width = 0, height = 0;
};

/// All that is drawn is clipped to the canvas. The same calls give the same pixels on the same machine (its fonts). With `scale`
/// n every unit of length, of text too, is n pixels: the same picture for a sharper screen.
class Canvas {
 public:
  /// UserError: more than 32,767 pixels a side.
  Canvas(std::int64_t height, std::int64_t width, Color ground = {255, 255, 255}, std::int64_t scale = 1);
  ~Canvas();

  std::int64_t scale() const;

  void fill(const Box& box, Color color);
  /// A smooth line through the points, clipped to `within`; one point is a dot.
  void line(const std::vector<Point>& points, Color color, double width, const Box& within);
  /// Pixel by pixel whatever the scale is, the upper left corner at (x, y).
  void paste(const Image& picture, std::int64_t x, std::int64_t y);
  /// Draws at the upper left corner (x, y); what it took.
  Size text(std::int64_t x, std::int64_t y, const std::string& text, const TextStyle& style = {});
  Image image() const;

 private:
  struct Surface;
  std::unique_ptr<Surface> surface_;
};

}  // namespace microdit::image

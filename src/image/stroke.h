// Smooth thin lines and filled boxes on a canvas.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "image/font.h"

namespace microdit::image {

/// A rectangle of pixels; right and bottom are the last ones within.
struct Frame {
  std::int64_t left = 0;
  std::int64_t top = 0;
  std::int64_t right = 0;
  std::int64_t bottom = 0;
};

struct Point {
  double x = 0.0;
  double y = 0.0;
};

/// Fills the part of the frame that lies on the canvas.
void fill(Image& canvas, const Frame& area, Color color);

/// How much of each pixel a line covers. The largest coverage wins, so that crossing segments do not darken.
class Stroke {
 public:
  explicit Stroke(const Frame& frame);

  /// Clipped to the frame; a == b is a dot.
  void segment(Point a, Point b);
  void paint(Image& canvas, Color color) const;

 private:
  std::int64_t row_within(double y) const;
  std::pair<std::int64_t, std::int64_t> columns_near(Point a, Point b, double y) const;
  void cover(std::int64_t x, std::int64_t y, double distance);

  Frame frame_;
  std::int64_t width_;
  std::int64_t height_;
  std::vector<float> coverage_;
};

}  // namespace microdit::image

// Anti-aliasing by distance: a pixel is covered by how far its centre lies inside the line.
#include "image/stroke.h"

#include <algorithm>
#include <cmath>

namespace microdit::image {
namespace {

constexpr double kRadius = 0.8;           // half the width of a line, in pixels
constexpr double kReach = kRadius + 1.0;  // beyond it nothing is covered

void blend(std::uint8_t* pixel, Color color, float weight) {
  const std::uint8_t target[3] = {color.red, color.green, color.blue};
  for (int c = 0; c < 3; ++c) {
    const float mixed = static_cast<float>(pixel[c]) + static_cast<float>(target[c] - pixel[c]) * weight;
    pixel[c] = static_cast<std::uint8_t>(std::lround(mixed));
  }
}

double distance_to_segment(Point p, Point a, Point b) {
  const double dx = b.x - a.x;
  const double dy = b.y - a.y;
  const double squared = dx * dx + dy * dy;
  const double along =
      squared > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / squared, 0.0, 1.0) : 0.0;
  const double off_x = p.x - a.x - along * dx;
  const double off_y = p.y - a.y - along * dy;
  return std::sqrt(off_x * off_x + off_y * off_y);
}

}  // namespace

void fill(Image& canvas, const Frame& area, Color color) {
  const std::int64_t bottom = std::min(area.bottom, canvas.height - 1);
  const std::int64_t right = std::min(area.right, canvas.width - 1);
  for (std::int64_t y = std::max<std::int64_t>(area.top, 0); y <= bottom; ++y) {
    for (std::int64_t x = std::max<std::int64_t>(area.left, 0); x <= right; ++x) {
      std::uint8_t* pixel = canvas.row(y) + x * 3;
      pixel[0] = color.red;
      pixel[1] = color.green;
      pixel[2] = color.blue;
    }
  }
}

Stroke::Stroke(const Frame& frame)
    : frame_(frame),
      width_(frame.right - frame.left + 1),
      height_(frame.bottom - frame.top + 1),
      coverage_(static_cast<std::size_t>(width_ * height_), 0.0F) {}

void Stroke::segment(Point a, Point b) {
  const std::int64_t top = row_within(std::min(a.y, b.y) - kReach);
  const std::int64_t bottom = row_within(std::max(a.y, b.y) + kReach);
  for (std::int64_t y = top; y <= bottom; ++y) {
    const auto [from, to] = columns_near(a, b, static_cast<double>(y));
    for (std::int64_t x = from; x <= to; ++x) {
      cover(x, y, distance_to_segment({static_cast<double>(x), static_cast<double>(y)}, a, b));
    }
  }
}

void Stroke::paint(Image& canvas, Color color) const {
  for (std::int64_t y = 0; y < height_; ++y) {
    std::uint8_t* row = canvas.row(frame_.top + y) + frame_.left * 3;
    for (std::int64_t x = 0; x < width_; ++x) {
      blend(row + x * 3, color, coverage_[static_cast<std::size_t>(y * width_ + x)]);
    }
  }
}

std::int64_t Stroke::row_within(double y) const {
  return static_cast<std::int64_t>(
      std::clamp(std::floor(y), static_cast<double>(frame_.top), static_cast<double>(frame_.bottom)));
}

/// The columns of row y that the segment can touch: a steep line does not visit its whole bounding box.
std::pair<std::int64_t, std::int64_t> Stroke::columns_near(Point a, Point b, double y) const {
  double one = a.x;
  double two = b.x;
  if (std::fabs(b.y - a.y) > 1.0) {
    const auto [low, high] = std::minmax(a.y, b.y);
    const double slope = (b.x - a.x) / (b.y - a.y);
    one = a.x + slope * (std::clamp(y - kReach, low, high) - a.y);
    two = a.x + slope * (std::clamp(y + kReach, low, high) - a.y);
  }
  const double from = std::floor(std::min(one, two) - kReach);
  const double to = std::ceil(std::max(one, two) + kReach);
  return {static_cast<std::int64_t>(std::max(from, static_cast<double>(frame_.left))),
          static_cast<std::int64_t>(std::min(to, static_cast<double>(frame_.right)))};
}

void Stroke::cover(std::int64_t x, std::int64_t y, double distance) {
  const auto weight = static_cast<float>(std::clamp(kRadius + 0.5 - distance, 0.0, 1.0));
  float& cell = coverage_[static_cast<std::size_t>((y - frame_.top) * width_ + x - frame_.left)];
  cell = std::max(cell, weight);
}

}  // namespace microdit::image

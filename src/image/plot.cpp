// Draws a line plot: title, legend above the frame (it never hides a line), grid lines, labels, one stroke per series.
#include "image/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "image/axis.h"
#include "image/font.h"
#include "image/grid.h"
#include "image/stroke.h"

namespace microdit::image {
namespace {

constexpr Color kAxisColor{120, 120, 120};
constexpr Color kGridColor{228, 228, 228};
constexpr Color kMinorGridColor{244, 244, 244};
// Close in brightness, and told apart by colour-blind readers.
constexpr std::array<Color, 8> kCycle = {{{31, 110, 180},
                                          {220, 95, 20},
                                          {40, 150, 90},
                                          {190, 50, 90},
                                          {120, 90, 180},
                                          {150, 105, 60},
                                          {20, 150, 170},
                                          {110, 110, 110}}};
constexpr std::int64_t kMargin = 12;
constexpr std::int64_t kSwatch = 18;  // length of a legend's sample line
constexpr std::int64_t kMark = 3;     // half a mark's side
constexpr std::int64_t kTickLength = 4;
constexpr std::int64_t kTickGap = 6;  // between the frame and a tick's label
constexpr std::int64_t kLabelGap = 8;
constexpr int kTitleScale = 2;
constexpr std::int64_t kPixelsPerXTick = 90;
constexpr std::int64_t kPixelsPerYTick = 45;
constexpr std::int64_t kSmallestSide = 120;

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

struct Ranges {
  Range x;
  Range y;
};

/// Finite, and far enough from the end of double's range that differences stay finite too.
bool is_usable(double value) {
  return std::fabs(value) < 1e100;
}

bool drawable(const Series& series, std::size_t i, bool log_y) {
  return is_usable(series.x[i]) && is_usable(series.y[i]) && (!log_y || series.y[i] > 0);
}

Ranges ranges_of(const std::vector<Series>& all, bool log_y) {
  Ranges ranges;
  for (const Series& series : all) {
    core::check(series.x.size() == series.y.size(), "series '{}' has {} x and {} y", series.name,
                series.x.size(), series.y.size());
    for (std::size_t i = 0; i < series.x.size(); ++i) {
      if (!drawable(series, i, log_y)) continue;
      ranges.x.include(series.x[i]);
      ranges.y.include(series.y[i]);
    }
  }
  if (ranges.x.low > ranges.x.high) return {{0, 1}, {log_y ? 0.1 : 0.0, 1}};  // nothing to draw: empty axes
  return ranges;
}

Color color_of(std::size_t index) {
  return kCycle[index % kCycle.size()];
}

/// Draws the legend from `top`, in as many lines as it needs; returns where the next thing may start.
std::int64_t draw_legend(Image& canvas, const std::vector<Series>& series, std::int64_t top) {
  std::int64_t x = kMargin;
  bool any = false;
  for (std::size_t i = 0; i < series.size(); ++i) {
    if (series[i].name.empty()) continue;
    const std::int64_t width = kSwatch + 6 + text_width(to_ascii(series[i].name)) + 16;
    if (any && x + width > canvas.width) {
      x = kMargin;
      top += kLineHeight + 2;
    }
    const std::int64_t middle = top + kCapHeight / 2;
    fill(canvas, {x, middle - 1, x + kSwatch - 1, middle + 1}, color_of(i));
    draw_text(canvas, x + kSwatch + 6, top, series[i].name);
    x += width;
    any = true;
  }
  return any ? top + kLineHeight + 6 : top;
}

std::int64_t widest(const std::vector<Tick>& ticks) {
  std::int64_t width = 0;
  for (const Tick& tick : ticks) width = std::max(width, text_width(tick.label));
  return width;
}

std::int64_t along(std::int64_t from, std::int64_t to, double position) {
  return std::llround(static_cast<double>(from) + position * static_cast<double>(to - from));
}

void draw_axes(Image& canvas, const Frame& frame, const std::vector<Tick>& x_ticks,
               const std::vector<Tick>& y_ticks) {
  const TextStyle faint{.scale = 1, .color = kFaintTextColor};
  for (const Tick& tick : y_ticks) {
    const std::int64_t y = along(frame.bottom, frame.top, tick.position);
    const bool major = !tick.label.empty();
    fill(canvas, {frame.left, y, frame.right, y}, major ? kGridColor : kMinorGridColor);
    fill(canvas, {frame.left - (major ? kTickLength : kTickLength / 2), y, frame.left, y}, kAxisColor);
    draw_text_styled(canvas, frame.left - kTickGap - text_width(tick.label), y - kCapHeight / 2, tick.label,
                     faint);
  }
  for (const Tick& tick : x_ticks) {
    const std::int64_t x = along(frame.left, frame.right, tick.position);
    fill(canvas, {x, frame.top, x, frame.bottom}, kGridColor);
    fill(canvas, {x, frame.bottom, x, frame.bottom + kTickLength}, kAxisColor);
    draw_text_styled(canvas, x - text_width(tick.label) / 2, frame.bottom + kTickGap + 1, tick.label, faint);
  }
  fill(canvas, {frame.left, frame.top, frame.left, frame.bottom}, kAxisColor);
  fill(canvas, {frame.left, frame.bottom, frame.right, frame.bottom}, kAxisColor);
}

void draw_series(Image& canvas, const Frame& frame, const Axis& x_axis, const Axis& y_axis,
                 const Series& series, Color color, bool log_y) {
  const auto place = [&](std::size_t i) {
    return Point{static_cast<double>(frame.left) +
                     x_axis.position(series.x[i]) * static_cast<double>(frame.right - frame.left),
                 static_cast<double>(frame.bottom) -
                     y_axis.position(series.y[i]) * static_cast<double>(frame.bottom - frame.top)};
  };
  Stroke stroke(frame);
  for (std::size_t i = 0; i < series.x.size(); ++i) {
    if (!drawable(series, i, log_y)) continue;
    const bool joined = i > 0 && drawable(series, i - 1, log_y);
    stroke.segment(place(joined ? i - 1 : i), place(i));  // a lone point is a dot
  }
  stroke.paint(canvas, color);
  for (std::size_t i = 0; i < series.x.size() && series.marks; ++i) {
    if (!drawable(series, i, log_y)) continue;
    const Point at = place(i);
    const std::int64_t x =
        std::clamp<std::int64_t>(std::llround(at.x), frame.left + kMark, frame.right - kMark);
    const std::int64_t y =
        std::clamp<std::int64_t>(std::llround(at.y), frame.top + kMark, frame.bottom - kMark);
    fill(canvas, {x - kMark, y - kMark, x + kMark, y + kMark}, color);
  }
}

}  // namespace

Image plot(const std::vector<Series>& series, const PlotStyle& style) {
  core::check(style.width >= kSmallestSide && style.height >= kSmallestSide, "a plot of {} x {} is too small",
              style.width, style.height);
  const Ranges ranges = ranges_of(series, style.log_y);
  const Axis x_axis(ranges.x.low, ranges.x.high, false, false);
  const Axis y_axis(ranges.y.low, ranges.y.high, style.log_y, true);

  Image canvas(style.height, style.width);
  std::int64_t top = kMargin;
  if (!style.title.empty()) {
    draw_text(canvas, kMargin, top, style.title, kTitleScale);
    top += kLineHeight * kTitleScale + 4;
  }
  top = draw_legend(canvas, series, top) + 2;

  const std::int64_t x_label = style.x_label.empty() ? 0 : kLineHeight + kLabelGap;
  const std::int64_t y_label = style.y_label.empty() ? 0 : kGlyphHeight + kLabelGap;
  Frame frame{0, top, style.width - kMargin - 8, style.height - kMargin - kTickGap - kLineHeight - x_label};
  frame.top = std::min(frame.top, frame.bottom - 1);  // a legend of many lines leaves at least a line
  const auto y_ticks = y_axis.ticks(static_cast<int>((frame.bottom - frame.top) / kPixelsPerYTick) + 1);
  frame.left = std::min(kMargin + y_label + widest(y_ticks) + kTickGap, frame.right - 1);
  const auto x_ticks = x_axis.ticks(static_cast<int>((frame.right - frame.left) / kPixelsPerXTick) + 1);

  draw_axes(canvas, frame, x_ticks, y_ticks);
  for (std::size_t i = 0; i < series.size(); ++i) {
    draw_series(canvas, frame, x_axis, y_axis, series[i], color_of(i), style.log_y);
  }
  if (x_label > 0) {
    const std::int64_t middle = (frame.left + frame.right) / 2;
    draw_text(canvas, middle - text_width(to_ascii(style.x_label)) / 2, style.height - kMargin - kGlyphHeight,
              style.x_label);
  }
  if (y_label > 0) {
    const std::int64_t middle = (frame.top + frame.bottom) / 2;
    draw_text_styled(canvas, kMargin, middle + text_width(to_ascii(style.y_label)) / 2, style.y_label,
                     {.upward = true});
  }
  return canvas;
}

}  // namespace microdit::image

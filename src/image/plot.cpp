// Draws a plot: title, legend above the frame (it never hides a line), grid lines, labels, one stroke per series.
#include "image/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>

#include "core/error.h"
#include "image/axis.h"
#include "image/canvas.h"

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
constexpr std::int64_t kBareMargin = 3;  // of a plot without ticks
constexpr std::int64_t kSwatch = 18;     // length of a legend's sample line
constexpr std::int64_t kMark = 3;        // half a mark's side
constexpr std::int64_t kTickLength = 4;
constexpr std::int64_t kTickGap = 6;  // between the frame and a tick's label
constexpr std::int64_t kLabelGap = 8;
constexpr double kLineWidth = 1.6;
constexpr double kDot = 3;
constexpr TextStyle kFaint{.size = 11, .color = kFaintTextColor};
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

Color color_of(const std::vector<Series>& series, std::size_t index) {
  const auto own = static_cast<std::size_t>(series[index].color);
  const Color full = kCycle[(series[index].color < 0 ? index : own) % kCycle.size()];
  if (!series[index].faint) return full;
  const auto paler = [](std::uint8_t value) {
    return static_cast<std::uint8_t>(255 - (255 - value) * 2 / 5);
  };
  return {paler(full.red), paler(full.green), paler(full.blue)};
}

/// Draws the legend from `top`, in as many lines as it needs; returns where the next thing may start.
std::int64_t draw_legend(Canvas& canvas, std::int64_t width, const std::vector<Series>& series,
                         std::int64_t top) {
  std::int64_t x = kMargin, line = 0;
  for (std::size_t i = 0; i < series.size(); ++i) {
    if (series[i].name.empty()) continue;
    const Size name = text_size(series[i].name);
    const std::int64_t whole = kSwatch + 6 + name.width + 16;
    if (line > 0 && x + whole > width) {
      x = kMargin;
      top += line + 2;
    }
    line = std::max(line, name.height);
    const double middle = static_cast<double>(top + name.height / 2);
    if (series[i].dots)
      canvas.line({{static_cast<double>(x) + kSwatch / 2.0, middle}}, color_of(series, i), 7,
                  {x, top, kSwatch, name.height});
    else
      canvas.fill({x, top + name.height / 2 - 1, kSwatch, 3}, color_of(series, i));
    canvas.text(x + kSwatch + 6, top, series[i].name);
    x += whole;
  }
  return line > 0 ? top + line + 8 : top;
}

std::int64_t widest(const std::vector<Tick>& ticks) {
  std::int64_t width = 0;
  for (const Tick& tick : ticks) width = std::max(width, text_size(tick.label, kFaint).width);
  return width;
}

/// The plotting area; right and bottom are the last pixels within.
struct Frame {
  std::int64_t left = 0, top = 0, right = 0, bottom = 0;
};

std::int64_t along(std::int64_t from, std::int64_t to, double position) {
  return std::llround(static_cast<double>(from) + position * static_cast<double>(to - from));
}

void draw_axes(Canvas& canvas, const Frame& frame, const std::vector<Tick>& x_ticks,
               const std::vector<Tick>& y_ticks) {
  const std::int64_t width = frame.right - frame.left + 1, height = frame.bottom - frame.top + 1;
  for (const Tick& tick : y_ticks) {
    const std::int64_t y = along(frame.bottom, frame.top, tick.position);
    const bool major = !tick.label.empty();
    const std::int64_t mark = major ? kTickLength : kTickLength / 2;
    canvas.fill({frame.left, y, width, 1}, major ? kGridColor : kMinorGridColor);
    canvas.fill({frame.left - mark, y, mark, 1}, kAxisColor);
    const Size label = text_size(tick.label, kFaint);
    canvas.text(frame.left - kTickGap - label.width, y - label.height / 2, tick.label, kFaint);
  }
  for (const Tick& tick : x_ticks) {
    const std::int64_t x = along(frame.left, frame.right, tick.position);
    canvas.fill({x, frame.top, 1, height}, kGridColor);
    canvas.fill({x, frame.bottom, 1, kTickLength + 1}, kAxisColor);
    canvas.text(x - text_size(tick.label, kFaint).width / 2, frame.bottom + kTickGap, tick.label, kFaint);
  }
  canvas.fill({frame.left, frame.top, 1, height}, kAxisColor);
  canvas.fill({frame.left, frame.bottom, width, 1}, kAxisColor);
}

/// The sides that axes leave open.
void close_frame(Canvas& canvas, const Frame& frame) {
  canvas.fill({frame.right, frame.top, 1, frame.bottom - frame.top + 1}, kAxisColor);
  canvas.fill({frame.left, frame.top, frame.right - frame.left + 1, 1}, kAxisColor);
}

/// Of neighbouring points in one column of pixels the first, the lowest, the highest and the last: what a reader sees, in a
/// path that does not grow with the data.
std::vector<Point> thinned(const std::vector<Point>& points) {
  std::vector<Point> kept;
  for (std::size_t first = 0, next = 0; first < points.size(); first = next) {
    const double column = std::floor(points[first].x);
    std::size_t low = first, high = first;
    for (next = first; next < points.size() && std::floor(points[next].x) == column; ++next) {
      if (points[next].y < points[low].y) low = next;
      if (points[next].y > points[high].y) high = next;
    }
    std::set<std::size_t> wanted = {first, low, high, next - 1};
    for (const std::size_t i : wanted) kept.push_back(points[i]);
  }
  return kept;
}

void draw_series(Canvas& canvas, const Frame& frame, const Axis& x_axis, const Axis& y_axis,
                 const Series& series, Color color, bool log_y) {
  const auto place = [&](std::size_t i) {
    return Point{static_cast<double>(frame.left) +
                     x_axis.position(series.x[i]) * static_cast<double>(frame.right - frame.left),
                 static_cast<double>(frame.bottom) -
                     y_axis.position(series.y[i]) * static_cast<double>(frame.bottom - frame.top)};
  };
  const Box within{frame.left, frame.top, frame.right - frame.left + 1, frame.bottom - frame.top + 1};
  const double size = series.size > 0 ? series.size : series.dots ? kDot : kLineWidth;
  for (std::size_t i = 0; i < series.x.size() && series.dots; ++i)
    if (drawable(series, i, log_y)) canvas.line({place(i)}, color, size, within);
  std::vector<Point> joined;
  for (std::size_t i = 0; i <= series.x.size() && !series.dots; ++i) {
    if (i < series.x.size() && drawable(series, i, log_y)) {
      joined.push_back(place(i));
      continue;
    }
    canvas.line(thinned(joined), color, size, within);  // a lone point is a dot
    joined.clear();
  }
  for (std::size_t i = 0; i < series.x.size() && series.marks; ++i) {
    if (!drawable(series, i, log_y)) continue;
    const Point at = place(i);
    const std::int64_t x =
        std::clamp<std::int64_t>(std::llround(at.x), frame.left + kMark, frame.right - kMark);
    const std::int64_t y =
        std::clamp<std::int64_t>(std::llround(at.y), frame.top + kMark, frame.bottom - kMark);
    canvas.fill({x - kMark, y - kMark, 2 * kMark + 1, 2 * kMark + 1}, color);
  }
}

}  // namespace

Image plot(const std::vector<Series>& series, const PlotStyle& style) {
  core::check(style.width >= kSmallestSide && style.height >= kSmallestSide, "a plot of {} x {} is too small",
              style.width, style.height);
  Ranges ranges = ranges_of(series, style.log_y);
  if (style.x) ranges.x = {style.x->low, style.x->high};
  if (style.y) ranges.y = {style.y->low, style.y->high};
  const Axis x_axis(ranges.x.low, ranges.x.high, false, false);
  const Axis y_axis(ranges.y.low, ranges.y.high, style.log_y, !style.y);

  Canvas canvas(style.height, style.width, {255, 255, 255}, style.scale);
  const std::int64_t margin = style.ticks ? kMargin : kBareMargin;
  std::int64_t top = margin;
  if (!style.title.empty()) {
    const TextStyle title{.size = style.title_size, .bold = true, .width = style.width - 2 * kMargin};
    top += canvas.text(kMargin, top, style.title, title).height + 4;
  }
  const std::int64_t kept_free = style.legend_lines * (text_size("X").height + 2);
  top = std::max(draw_legend(canvas, style.width, series, top) + 2, top + kept_free);

  const Size x_label = text_size(style.x_label), y_label = text_size(style.y_label, {.upward = true});
  const std::int64_t beneath = style.ticks ? kTickGap + text_size("0", kFaint).height : 0,
                     x_label_room = x_label.height > 0 ? x_label.height + kLabelGap : 0,
                     y_label_room = y_label.width > 0 ? y_label.width + kLabelGap : 0;
  Frame frame{0, top, style.width - (style.ticks ? kMargin + 8 : kBareMargin),
              style.height - margin - beneath - x_label_room};
  frame.top = std::min(frame.top, frame.bottom - 1);  // a legend of many lines leaves at least a line
  const auto ticks = [&](const Axis& axis, std::int64_t length, std::int64_t per_tick) {
    return style.ticks ? axis.ticks(static_cast<int>(length / per_tick) + 1) : std::vector<Tick>();
  };
  const auto y_ticks = ticks(y_axis, frame.bottom - frame.top, kPixelsPerYTick);
  frame.left =
      std::min(margin + y_label_room + (style.ticks ? widest(y_ticks) + kTickGap : 0), frame.right - 1);
  const auto x_ticks = ticks(x_axis, frame.right - frame.left, kPixelsPerXTick);

  draw_axes(canvas, frame, x_ticks, y_ticks);
  if (!style.ticks) close_frame(canvas, frame);
  for (std::size_t i = 0; i < series.size(); ++i)
    draw_series(canvas, frame, x_axis, y_axis, series[i], color_of(series, i), style.log_y);
  canvas.text((frame.left + frame.right - x_label.width) / 2, style.height - kMargin - x_label.height,
              style.x_label);
  canvas.text(kMargin, (frame.top + frame.bottom + y_label.height) / 2, style.y_label, {.upward = true});
  return canvas.image();
}

}  // namespace microdit::image

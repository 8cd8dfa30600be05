// A plot as a picture: curves and clouds of points for people who look before they read.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "image/image.h"

namespace microdit::image {

struct Series {
  std::string name;
  std::vector<double> x;
  std::vector<double> y;
  bool marks = false;  ///< a square at each point: few points that no other series may hide
  bool faint = false;  ///< paler: single values behind their mean
  bool dots = false;   ///< its points alone, as discs: no line joins them
  double size = 0;     ///< a line's width or a disc's diameter, pixels; 0 = the usual
  std::int64_t color =
      -1;  ///< its place in the cycle of 8 colours (the last is grey); -1 = its place among the series
};
struct Limits {
  double low = 0, high = 1;
};
struct PlotStyle {
  std::string title{};
  std::string x_label{};
  std::string y_label{};
  std::int64_t width = 800;
  std::int64_t height = 420;
  bool log_y = false;
  std::optional<Limits> x{}, y{};  ///< what the axes show; nothing: all points
  double title_size = 17;
  std::int64_t legend_lines =
      0;                   ///< kept free for the legend at least: frames of plots side by side are alike
  bool ticks = true;       ///< false: a frame alone, of many plots side by side
  std::int64_t scale = 1;  ///< pixels per unit of length (Canvas)
};
/// Axes with ticks, a legend, one colour per series; non-finite points are gaps.
Image plot(const std::vector<Series>& series, const PlotStyle& style);

}  // namespace microdit::image

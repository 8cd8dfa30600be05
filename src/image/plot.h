// A line plot as a picture: loss curves for people who look before they read.
#pragma once

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
};
struct PlotStyle {
  std::string title{};
  std::string x_label{};
  std::string y_label{};
  std::int64_t width = 800;
  std::int64_t height = 420;
  bool log_y = false;
};
/// Axes with ticks, a legend, one colour per series; non-finite points are gaps.
Image plot(const std::vector<Series>& series, const PlotStyle& style);

}  // namespace microdit::image

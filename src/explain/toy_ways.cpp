// Drawn alike, so that ways can be compared.
#include "explain/toy_ways.h"

#include <fmt/format.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <limits>

#include "explain/levels.h"
#include "image/canvas.h"
#include "image/plot.h"
#include "image/sheet.h"

namespace microdit::explain {
namespace {

constexpr double kFarthest = 2.9;        // of axes
constexpr std::int64_t kTitleRoom = 24;  // of a titled plot: its frame stays square
constexpr std::int64_t kPairSteps = 100;

/// Lines of the first `count` points: what `place` makes of (row, part of the steps, point).
template <typename Place>
image::Series lines_of(const Way& way, std::int64_t count, const Place& place) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  image::Series lines{.name = "", .x = {}, .y = {}, .size = 1, .color = kBlue};
  for (std::int64_t row = 0; row < count; ++row) {
    for (std::size_t i = 0; i < way.size(); ++i) {
      const image::Point at = place(static_cast<double>(i) / static_cast<double>(way.size() - 1),
                                    way[i].template data_ptr<double>() + 2 * row);
      lines.x.push_back(at.x);
      lines.y.push_back(at.y);
    }
    lines.x.push_back(kNone);  // a gap
    lines.y.push_back(kNone);
  }
  return lines;
}

image::Image way_plot(const NamedWay& way, const torch::Tensor& data, std::int64_t side) {
  const auto ends = [&](const torch::Tensor& x, std::int64_t color, double size) {
    return dots(x.narrow(0, 0, way.shown), color, false, size);
  };
  return plane({dots(data, kGrey, true, 1.6),
                lines_of(way.way, way.shown,
                         [](double, const double* x) {
                           return image::Point{x[0], x[1]};
                         }),
                ends(way.way.front(), kGrey, 4), ends(way.way.back(), kOrange, 5)},
               way.name, side);
}

/// The upright coordinate over the steps.
image::Image pace_plot(const NamedWay& way, double bend, std::int64_t side) {
  return image::plot({lines_of(way.way, way.shown,
                               [](double along, const double* x) {
                                 return image::Point{along, x[1]};
                               })},
                     {.title = fmt::format("over its steps: S = {:.2f}", bend),
                      .width = side - kTitleRoom,
                      .height = side,
                      .x = image::Limits{0, 1},
                      .y = image::Limits{-kFarthest, kFarthest},
                      .title_size = 13,
                      .ticks = false,
                      .scale = kScale});
}

}  // namespace

image::Image plane(const std::vector<image::Series>& series, const std::string& title, std::int64_t side) {
  return image::plot(series, {.title = title,
                              .width = title.empty() ? side : side - kTitleRoom,
                              .height = side,
                              .x = image::Limits{-kFarthest, kFarthest},
                              .y = image::Limits{-kFarthest, kFarthest},
                              .title_size = 13,
                              .ticks = false,
                              .scale = kScale});
}

Way pairs_way(const diffusion::Objective& objective, const torch::Tensor& data_N211,
              const torch::Tensor& noise_N211) {
  Way way;
  for (const diffusion::Moment& moment : along(objective, kPairSteps + 1))
    way.push_back((moment.level.alpha * data_N211 + moment.level.sigma * noise_N211).to(torch::kDouble));
  std::ranges::reverse(way);
  return way;
}

Figure ways_figure(const std::string& name, const std::string& words, const std::vector<NamedWay>& ways,
                   const torch::Tensor& data, core::Json& numbers) {
  const std::int64_t side = kWidth / 3 - 20;
  image::Section section;
  std::string lengths;
  for (const NamedWay& way : ways) {
    section.blocks.push_back({{way_plot(way, data, side)}, {}});
    const double length = length_by_distance(way.way);
    numbers["length_by_distance"][way.name] = length;
    lengths += fmt::format("{}{} {:.2f}", lengths.empty() ? "" : ", ", way.name, length);
  }
  for (const NamedWay& way : ways) {
    const double bend = straightness(way.way);
    numbers["straightness"][way.name] = bend;
    section.blocks.push_back({{pace_plot(way, bend, side)}, {}});
  }
  return {name,
          fmt::format("{} Length of a way by the distance of its ends, median of {}: {}. Below: the same "
                      "ways' height over the steps, noise "
                      "on the left; S is 0 where all go straight at an even pace (mean square of velocity "
                      "less that, by the mean square of that).",
                      words, kPoints, lengths),
          image::sheet({section},
                       {.columns = static_cast<std::int64_t>(ways.size()), .cell = side, .scale = kScale})};
}

}  // namespace microdit::explain

// Ticks at round values, lines where the data is, gaps where it is not finite.
#include "image/plot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "image/axis.h"

namespace microdit::image {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> labels(const Axis& axis, int wanted) {
  std::vector<std::string> result;
  for (const Tick& tick : axis.ticks(wanted)) {
    EXPECT_GE(tick.position, -1e-9);
    EXPECT_LE(tick.position, 1 + 1e-9);
    if (!tick.label.empty()) result.push_back(tick.label);
  }
  return result;
}

bool is_blue(const std::uint8_t* pixel) {
  return pixel[2] > pixel[0] + 60;
}

/// Pixels of the first series' colour in one column.
int blue_in_column(const Image& image, std::int64_t x) {
  int count = 0;
  for (std::int64_t y = 0; y < image.height; ++y) count += is_blue(image.row(y) + x * 3) ? 1 : 0;
  return count;
}

TEST(Axis, OfLessThanADecadeHasNumbersToo) {
  using Labels = std::vector<std::string>;
  EXPECT_EQ(labels(Axis(1.0, 1.4, true, false), 5), (Labels{"1.0", "1.1", "1.2", "1.3", "1.4"}));
  EXPECT_EQ(labels(Axis(0.93, 0.97, true, false), 4), (Labels{"0.93", "0.94", "0.95", "0.96", "0.97"}));
  EXPECT_GE(labels(Axis(0.03, 0.03, true, true), 5).size(), 2U);
}

TEST(Axis, HasRoundTicks) {
  using Labels = std::vector<std::string>;
  EXPECT_EQ(labels(Axis(0, 1000, false, false), 5), (Labels{"0", "200", "400", "600", "800", "1000"}));
  EXPECT_EQ(labels(Axis(0, 250'000, false, false), 5), (Labels{"0", "50k", "100k", "150k", "200k", "250k"}));
  EXPECT_EQ(labels(Axis(0.13, 0.52, false, true), 5), (Labels{"0.1", "0.2", "0.3", "0.4", "0.5", "0.6"}));
  EXPECT_EQ(labels(Axis(-1, 1, false, false), 4), (Labels{"-1.0", "-0.5", "0", "0.5", "1.0"}));
  EXPECT_EQ(labels(Axis(0.001, 10, true, false), 6), (Labels{"0.001", "0.01", "0.1", "1", "10"}));
}

TEST(Axis, GivesASingleValueARange) {
  const Axis axis(3, 3, false, true);
  EXPECT_GT(axis.position(3), 0.1);
  EXPECT_LT(axis.position(3), 0.9);
  EXPECT_GE(labels(axis, 5).size(), 2U);
  EXPECT_NEAR(Axis(10, 10, true, false).position(10), 0.5, 1e-9);
}

TEST(Plot, HasTheAskedSizeAndAWhiteGround) {
  const Image image = plot({{"loss", {0, 1, 2}, {3, 2, 1}}}, {.title = "t", .width = 500, .height = 300});
  EXPECT_EQ(image.width, 500);
  EXPECT_EQ(image.height, 300);
  EXPECT_EQ(image.row(0)[0], 255);
}

TEST(Plot, DrawsFallingDataFallingAndLeavesGaps) {
  std::vector<double> x;
  std::vector<double> y;
  for (int i = 0; i <= 100; ++i) {
    x.push_back(i);
    y.push_back(i >= 40 && i <= 60 ? kNan : 100.0 - i);
  }
  const Image image = plot({{"", x, y}}, {.width = 600, .height = 400});
  const auto first_blue = [&](std::int64_t column) {
    for (std::int64_t row = 0; row < image.height; ++row) {
      if (is_blue(image.row(row) + column * 3)) return row;
    }
    return image.height;
  };
  EXPECT_LT(first_blue(100), 150);
  EXPECT_GT(first_blue(550), 250);
  EXPECT_EQ(blue_in_column(image, 310), 0);
  EXPECT_GT(blue_in_column(image, 150), 0);
  EXPECT_LT(blue_in_column(image, 150), 6) << "a thin line";
}

TEST(Plot, LogarithmicAxisSkipsWhatHasNoLogarithm) {
  const Image image =
      plot({{"", {0, 1, 2, 3, 4}, {100, 10, 0, -1, 0.1}}}, {.width = 400, .height = 300, .log_y = true});
  EXPECT_GT(blue_in_column(image, 80), 0);
  EXPECT_EQ(blue_in_column(image, 260), 0);
}

TEST(Plot, SurvivesOddData) {
  const double big = std::numeric_limits<double>::max();
  const double infinity = std::numeric_limits<double>::infinity();
  const PlotStyle style{.title = "odd", .x_label = "step", .y_label = "loss", .width = 200, .height = 150};
  EXPECT_NO_THROW(plot({}, style));
  EXPECT_NO_THROW(plot({{"none", {}, {}}}, style));
  EXPECT_NO_THROW(plot({{"one", {5}, {5}}}, style));
  EXPECT_NO_THROW(plot({{"nan", {0, 1}, {kNan, infinity}}}, style));
  EXPECT_NO_THROW(plot({{"big", {0, 1, 2}, {-big, 0, big}}}, style));
  EXPECT_NO_THROW(plot({{"tiny", {0, 1e-300}, {1e-300, 2e-300}}}, style));
  EXPECT_NO_THROW(plot(std::vector<Series>(60, Series{"a long name for a legend", {0, 1}, {0, 1}}), style));
  EXPECT_THROW(plot({{"uneven", {1, 2}, {1}}}, style), std::logic_error);
  EXPECT_THROW(plot({}, {.width = 10, .height = 10}), std::logic_error);
}

TEST(Plot, AMillionNoisyPointsAreDrawnFromTheirEdges) {
  std::vector<double> x, y;
  for (int i = 0; i < 1'000'000; ++i) {
    x.push_back(i);
    y.push_back(i == 500'003 ? 9 : (i * 7919) % 1000 / 1000.0);  // one peak in all the noise
  }
  const Image image = plot({{"", x, y}}, {.width = 400, .height = 300});
  int highest = 300;
  for (std::int64_t row = 299; row >= 0; --row)
    for (std::int64_t column = 0; column < 400; ++column)
      if (is_blue(image.row(row) + column * 3)) highest = static_cast<int>(row);
  EXPECT_LT(highest, 60) << "the peak is seen";
}

TEST(Plot, FaintSeriesArePaler) {
  const auto darkest = [](bool faint) {
    const Image image =
        plot({{.name = "", .x = {0, 1}, .y = {1, 2}, .faint = faint}}, {.width = 400, .height = 300});
    int found = 255;
    for (std::int64_t y = 0; y < 300; ++y)
      for (std::int64_t x = 0; x < 400; ++x)
        if (is_blue(image.row(y) + 3 * x)) found = std::min<int>(found, image.row(y)[3 * x]);
    return found;
  };
  EXPECT_GT(darkest(true), darkest(false) + 60);
}

TEST(Plot, MarksFewPointsSoThatTheyAreSeen) {
  const auto blue = [](bool marks) {
    const Image image =
        plot({{.name = "", .x = {5}, .y = {2}, .marks = marks}}, {.width = 400, .height = 300});
    int count = 0;
    for (std::int64_t x = 0; x < image.width; ++x) count += blue_in_column(image, x);
    return count;
  };
  EXPECT_GE(blue(true), 49);
  EXPECT_LT(blue(false), 25);
}

}  // namespace
}  // namespace microdit::image

// Where the bins begin and end.
#include "ingest/histogram.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

#include "ingest/number_counts.h"

namespace microdit::ingest {
namespace {

/// The bin that takes `value`.
std::string bin_of(Histogram histogram, double value) {
  histogram.add(value);
  EXPECT_EQ(histogram.total(), 1);
  for (const Histogram::Bin& bin : histogram.bins())
    if (bin.count == 1) return bin.name;
  return "none";
}

TEST(Histogram, TakesEveryValueOnce) {
  EXPECT_EQ(bin_of(side_histogram(), -1), "0 to 63");
  EXPECT_EQ(bin_of(side_histogram(), 63), "0 to 63");
  EXPECT_EQ(bin_of(side_histogram(), 64), "64 to 127");
  EXPECT_EQ(bin_of(side_histogram(), 2047), "1536 to 2047");
  EXPECT_EQ(bin_of(side_histogram(), 2048), "2048 and more");
  EXPECT_EQ(bin_of(side_histogram(), 65535), "2048 and more");
  EXPECT_EQ(bin_of(character_histogram(), 1), "1 to 9");
}

TEST(Histogram, KnowsASquare) {
  EXPECT_EQ(bin_of(aspect_histogram(), 1), "square");
  EXPECT_EQ(bin_of(aspect_histogram(), 999. / 1000), "3:4 to 1:1");
  EXPECT_EQ(bin_of(aspect_histogram(), 65535. / 65534), "1:1 to 4:3");
  EXPECT_EQ(bin_of(aspect_histogram(), 640. / 480), "4:3 to 3:2");
  EXPECT_EQ(bin_of(aspect_histogram(), 1. / 9), "narrower than 1:2");
  EXPECT_EQ(bin_of(aspect_histogram(), 9), "2:1 and wider");
}

TEST(Histogram, TellsWhatFillsTheEncoder) {
  EXPECT_EQ(bin_of(token_histogram(24), 24), "24 (all that fit)");
  EXPECT_EQ(bin_of(token_histogram(24), 23), "22 to 23");
  EXPECT_EQ(bin_of(token_histogram(77), 76), "70 to 76");
  EXPECT_EQ(bin_of(token_histogram(1), 0), "0");
  EXPECT_EQ(bin_of(token_histogram(0), 1), "1 (all that fit)");
}

TEST(Histogram, AddsUp) {
  Histogram sum, one = side_histogram();
  one.add(100);
  sum.merge(one);
  sum.merge(Histogram());
  sum.merge(one);
  EXPECT_EQ(sum.total(), 2);
  EXPECT_EQ(sum.bins()[1].count, 2);
}

TEST(NumberCounts, FewValuesAreToldApart) {
  NumberCounts counts;
  for (const double value : {3., -1., 0., -0., 3., std::nan(""), 1. / 0.}) counts.add(value);
  EXPECT_EQ(counts.text(), "5 numbers from -1 to 3, median 0; NaN in 2");
  const Histogram histogram = counts.histogram();
  ASSERT_EQ(histogram.bins().size(), 3u);
  EXPECT_EQ(histogram.bins()[1].name, "0");
  EXPECT_EQ(histogram.bins()[1].count, 2);
  EXPECT_EQ(NumberCounts().text(), "no number");
}

/// Of many values: in fixed memory, close to the truth, and the same whatever shard each lies in.
TEST(NumberCounts, ManyValuesInAnyOrder) {
  std::mt19937_64 random(3);
  std::vector<double> values(200'000);
  for (double& value : values) value = std::normal_distribution(5., 2.)(random);
  NumberCounts one;
  for (const double value : values) one.add(value);
  NumberCounts sum;
  std::ranges::shuffle(values, random);
  for (std::size_t begin = 0; begin < values.size(); begin += 7000) {
    NumberCounts shard;
    for (std::size_t i = begin; i < std::min(begin + 7000, values.size()); ++i) shard.add(values[i]);
    sum.merge(shard);
  }
  EXPECT_EQ(sum.text(), one.text());
  std::ranges::sort(values);
  EXPECT_THAT(one.text(),
              testing::StartsWith(fmt::format("200000 numbers from {:.6g} to {:.6g}, median about ",
                                              values.front(), values.back())));
  const double median = std::stod(one.text().substr(one.text().find("about ") + 6));
  EXPECT_NEAR(median, values[values.size() / 2], 0.05);
  const Histogram a = one.histogram(), b = sum.histogram();
  ASSERT_EQ(a.bins().size(), 12u);
  EXPECT_EQ(a.total(), 200'000);
  for (std::size_t i = 0; i < a.bins().size(); ++i) {
    EXPECT_EQ(a.bins()[i].count, b.bins()[i].count);
    const auto exact = std::ranges::count_if(values, [&](double value) {
      return value >= a.bins()[i].begin && (i == 11 || value < a.bins()[i + 1].begin);
    });
    EXPECT_NEAR(static_cast<double>(a.bins()[i].count), static_cast<double>(exact), 2000) << i;
  }
}

TEST(NumberCounts, HugeValues) {
  NumberCounts counts;
  std::mt19937_64 random(3);
  for (int i = 0; i < 100'000; ++i) counts.add(std::bit_cast<double>(random()));
  EXPECT_GT(counts.absent(), 0);
  EXPECT_EQ(counts.histogram().total(), counts.count());
}

}  // namespace
}  // namespace microdit::ingest

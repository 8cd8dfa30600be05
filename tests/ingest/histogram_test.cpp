// Where the bins begin and end.
#include "ingest/histogram.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace microdit::ingest

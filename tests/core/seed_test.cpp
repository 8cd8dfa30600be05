// Philox against published vectors; streams that do not depend on how they are drawn, and do not meet.
#include "core/seed.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace microdit::core {
namespace {

using Block = std::array<std::uint32_t, 4>;

// Known answers of the authors' Random123 distribution.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox4x32({ones, ones, ones, ones}, {ones, ones}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(CounterRng, IsAFunctionOfItsArguments) {
  CounterRng one(7, Purpose::noise, 3, 4), same(7, Purpose::noise, 3, 4);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(one.next_u32(), same.next_u32());
}

// Written down once: a change of layout would silently change every run's numbers.
TEST(CounterRng, NumbersStayTheSame) {
  CounterRng rng(1234, Purpose::time, 56, 78);
  const Block first{rng.next_u32(), rng.next_u32(), rng.next_u32(), rng.next_u32()};
  const std::uint64_t key = derive_seed(derive_seed(1234, 5), 0);
  EXPECT_EQ(first, philox4x32({0, 56, 78u << 16, 0},
                              {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)}));
  const std::uint32_t fifth = rng.next_u32();
  EXPECT_EQ(fifth, philox4x32({1, 56, 78u << 16, 0},
                              {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)})[0]);
}

TEST(CounterRng, StreamsDoNotMeet) {
  std::set<std::uint64_t> first;
  std::size_t streams = 0;
  const std::uint64_t large = std::uint64_t{1} << 48;
  for (std::uint64_t seed : {0, 1, 2}) {
    for (auto purpose : {Purpose::init, Purpose::order, Purpose::noise, Purpose::mixture}) {
      for (std::uint64_t a : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{65536}, large - 1, large,
                              large << 1, ~std::uint64_t{0}}) {
        for (std::uint64_t b : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{65536}, large - 1, large,
                                large << 1, ~std::uint64_t{0}}) {
          first.insert(CounterRng(seed, purpose, a, b).next_u64());
          ++streams;
        }
      }
    }
  }
  EXPECT_EQ(first.size(), streams);
}

TEST(CounterRng, FillEqualsRepeatedCalls) {
  for (std::size_t size : {0u, 1u, 2u, 3u, 4u, 5u, 7u, 1001u}) {
    for (int lead : {0, 1, 2, 3}) {
      CounterRng filled(5, Purpose::noise, size), called(5, Purpose::noise, size);
      for (int i = 0; i < lead; ++i) EXPECT_EQ(filled.normal(), called.normal());
      std::vector<float> out(size);
      filled.fill_normal(out);
      for (float value : out) EXPECT_EQ(value, called.normal());
      EXPECT_EQ(filled.normal(), called.normal());
      filled.fill_uniform(out);
      for (float value : out) EXPECT_EQ(value, called.uniform());
    }
  }
}

TEST(CounterRng, NormalHasTheMomentsAndTails) {
  CounterRng rng(11, Purpose::noise);
  std::vector<float> x(1'000'000);
  rng.fill_normal(x);
  double sum = 0, square = 0, fourth = 0, neighbours = 0;
  int beyond_two = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_TRUE(std::isfinite(x[i]));
    sum += x[i];
    square += double{x[i]} * x[i];
    fourth += std::pow(double{x[i]}, 4);
    if (i > 0) neighbours += double{x[i]} * x[i - 1];
    beyond_two += std::abs(x[i]) > 2;
  }
  const double n = static_cast<double>(x.size());
  EXPECT_NEAR(sum / n, 0, 5e-3);  // five standard errors each
  EXPECT_NEAR(square / n, 1, 7.1e-3);
  EXPECT_NEAR(fourth / n, 3, 5e-2);
  EXPECT_NEAR(neighbours / n, 0, 5e-3);
  EXPECT_NEAR(beyond_two / n, 0.0455003, 1.1e-3);
}

TEST(CounterRng, UniformFillsItsRange) {
  CounterRng rng(3, Purpose::mask);
  std::vector<float> x(100'000);
  rng.fill_uniform(x);
  double sum = 0;
  for (float value : x) {
    ASSERT_GE(value, 0.0f);
    ASSERT_LT(value, 1.0f);
    sum += value;
  }
  EXPECT_NEAR(sum / static_cast<double>(x.size()), 0.5, 5e-3);
}

TEST(CounterRng, BelowIsUniformAndInRange) {
  CounterRng rng(9, Purpose::order);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70'000; ++i) ++counts.at(rng.below(7));
  for (int count : counts) EXPECT_NEAR(count, 10'000, 500);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(rng.below(1), 0u);
  const std::uint64_t odd = (std::uint64_t{3} << 62) + 1;  // a quarter of all draws is rejected
  int upper_third = 0;
  for (int i = 0; i < 30'000; ++i) {
    const std::uint64_t value = rng.below(odd);
    ASSERT_LT(value, odd);
    upper_third += value >= odd / 3 * 2;
  }
  EXPECT_NEAR(upper_third, 10'000, 420);
  EXPECT_THROW(rng.below(0), std::logic_error);
}

TEST(DeriveSeed, SeparatesSeedsAndLabels) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    for (std::uint64_t label = 0; label < 100; ++label) seen.insert(derive_seed(seed, label));
  }
  EXPECT_EQ(seen.size(), 10'000u);
}

}  // namespace
}  // namespace microdit::core

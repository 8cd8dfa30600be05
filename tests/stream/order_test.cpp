// The order is a bijection per epoch, differs by key, and mixtures keep their proportions.
#include "stream/order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace microdit::stream {
namespace {

std::vector<std::int64_t> order(std::int64_t size, std::uint64_t seed, std::uint64_t source,
                                std::uint64_t epoch) {
  const Permutation permutation(size, seed, source, epoch);
  std::vector<std::int64_t> shown;
  for (std::int64_t i = 0; i < size; ++i) shown.push_back(permutation(i));
  return shown;
}

TEST(Permutation, IsABijection) {
  for (const std::int64_t size : {1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4096, 4097, 100003}) {
    std::vector<std::int64_t> shown = order(size, 5, 0, 3);
    std::sort(shown.begin(), shown.end());
    for (std::int64_t i = 0; i < size; ++i) ASSERT_EQ(shown[static_cast<std::size_t>(i)], i) << size;
  }
}

TEST(Permutation, EveryPartOfTheKeyCounts) {
  const auto one = order(1000, 5, 0, 3);
  EXPECT_EQ(one, order(1000, 5, 0, 3));
  for (const auto& other : {order(1000, 6, 0, 3), order(1000, 5, 1, 3), order(1000, 5, 0, 4)}) {
    int same = 0;
    for (std::size_t i = 0; i < one.size(); ++i) same += one[i] == other[i];
    EXPECT_LT(same, 12);  // one is expected
  }
}

// Mean rank correlation of neighbours and of index with place: near zero for a shuffle, 1 for the identity.
TEST(Permutation, LooksShuffled) {
  const std::int64_t size = 20000;
  const auto shown = order(size, 1, 0, 0);
  const double mean = static_cast<double>(size - 1) / 2, variance = static_cast<double>(size) * size / 12;
  double with_index = 0, with_next = 0;
  for (std::int64_t i = 0; i + 1 < size; ++i) {
    const double here = static_cast<double>(shown[static_cast<std::size_t>(i)]) - mean;
    with_index += here * (static_cast<double>(i) - mean);
    with_next += here * (static_cast<double>(shown[static_cast<std::size_t>(i + 1)]) - mean);
  }
  EXPECT_LT(std::abs(with_index / (static_cast<double>(size) * variance)), 0.03);  // 4 sigma = 0.028
  EXPECT_LT(std::abs(with_next / (static_cast<double>(size) * variance)), 0.03);
}

TEST(Permutation, VeryLargeSizesCostNoMemory) {
  const Permutation permutation(3'000'000'000'000, 1, 0, 0);
  std::set<std::int64_t> shown;
  for (std::int64_t i = 0; i < 1000; ++i) {
    const std::int64_t sample = permutation(i * 2'999'999'999);
    ASSERT_GE(sample, 0);
    ASSERT_LT(sample, 3'000'000'000'000);
    shown.insert(sample);
  }
  EXPECT_EQ(shown.size(), 1000u);
}

std::vector<std::int64_t> epoch_order(std::int64_t size, std::int64_t run, std::uint64_t epoch,
                                      std::uint64_t source = 0) {
  const EpochOrder epoch_of(size, run, 5, source, epoch);
  std::vector<std::int64_t> shown;
  for (std::int64_t i = 0; i < size; ++i) shown.push_back(epoch_of(i));
  return shown;
}

TEST(EpochOrder, IsABijectionForEveryRun) {
  for (const std::int64_t run : {1, 7, 32})
    for (const std::int64_t size : {1, 2, 31, 32, 33, 64, 100, 4097}) {
      std::vector<std::int64_t> shown = epoch_order(size, run, 3);
      std::sort(shown.begin(), shown.end());
      for (std::int64_t i = 0; i < size; ++i)
        ASSERT_EQ(shown[static_cast<std::size_t>(i)], i) << size << " " << run;
    }
}

TEST(EpochOrder, RunOfOneIsThePermutation) {
  EXPECT_EQ(epoch_order(1000, 1, 3, 2), order(1000, 5, 2, 3));
}

TEST(EpochOrder, RunsStayTogetherAndAreCutElsewhereInEveryEpoch) {
  const std::int64_t size = 1000, run = 32;
  std::set<std::int64_t> cuts;
  for (const std::uint64_t epoch : {0, 1, 2}) {
    const auto shown = epoch_order(size, run, epoch);
    std::set<std::int64_t> begins;
    for (std::int64_t i = 0; i < size; ++i) {
      if (i % run == 0) begins.insert(shown[static_cast<std::size_t>(i)]);
      if (i % run == 0 || i >= size / run * run) continue;
      EXPECT_EQ(shown[static_cast<std::size_t>(i)], (shown[static_cast<std::size_t>(i - 1)] + 1) % size);
    }
    cuts.insert(*begins.begin() % run);
    // Neighbouring runs are not shown one after another.
    int next = 0;
    for (std::int64_t i = run; i < size; i += run)
      next += shown[static_cast<std::size_t>(i)] == (shown[static_cast<std::size_t>(i - run)] + run) % size;
    EXPECT_LT(next, 5);
  }
  EXPECT_GT(cuts.size(), 1U);
  EXPECT_NE(epoch_order(size, run, 0, 0), epoch_order(size, run, 0, 1));
}

// A global batch of 2,048 out of 100 million samples in 20,000 shards.
TEST(EpochOrder, ABatchComesFromManyShards) {
  const EpochOrder order_of(100'000'000, 32, 1, 0, 0);
  for (const std::int64_t batch : {0, 1, 7, 1000, 40000}) {
    std::set<std::int64_t> shards;
    for (std::int64_t i = 0; i < 2048; ++i) shards.insert(order_of(batch * 2048 + i) / 5000);
    EXPECT_GE(shards.size(), 60U);
  }
}

TEST(Mixture, KeepsProportionsInEveryPrefix) {
  const std::vector<double> proportions = {5, 3, 1.5, 0.5};
  const Mixture mixture(proportions);
  std::vector<double> shown(4, 0);
  for (std::int64_t position = 0; position < 200000; ++position) {
    const Turn turn = mixture.at(position);
    ASSERT_EQ(static_cast<double>(turn.index), shown[turn.source]) << "indices count up without gaps";
    ++shown[turn.source];
    for (std::size_t i = 0; i < 4; ++i)
      ASSERT_LT(std::abs(shown[i] - proportions[i] / 10 * static_cast<double>(position + 1)), 4.0)
          << position;
  }
}

TEST(Mixture, TinyShareIsNotZero) {
  const Mixture mixture({1e6, 1});
  std::int64_t shown = 0;
  for (std::int64_t position = 0; position < 65536; ++position) shown += mixture.at(position).source == 1;
  EXPECT_EQ(shown, 1);
}

}  // namespace
}  // namespace microdit::stream

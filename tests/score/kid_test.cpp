// KID: known values, what the subsets are, what is refused.
#include "score/kid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>

#include "core/error.h"

namespace microdit::score {
namespace {

const core::StopFlag kNoStop;

torch::Tensor made(std::int64_t rows, std::int64_t dims, double shift) {
  return (torch::arange(rows * dims, torch::kDouble) * 1.7 + shift).sin().view({rows, dims}) + shift / 10;
}

/// The definition, pair by pair.
double by_definition(const torch::Tensor& a, const torch::Tensor& b) {
  const auto k = [](const torch::Tensor& x, const torch::Tensor& y) {
    return std::pow(x.dot(y).item<double>() / static_cast<double>(x.size(0)) + 1, 3);
  };
  const std::int64_t m = a.size(0);
  double within = 0, between = 0;
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < m; ++j) {
      if (i != j) within += k(a[i], a[j]) + k(b[i], b[j]);
      between += k(a[i], b[j]);
    }
  const auto n = static_cast<double>(m);
  return within / (n * (n - 1)) - 2 * between / (n * n);
}

TEST(Kid, is_its_definition) {
  const torch::Tensor a = made(9, 5, 0.3), b = made(9, 5, 2.1);
  const KernelDistance found = kernel_distance(a, b, 100, 7, kNoStop);
  EXPECT_NEAR(found.mean, by_definition(a, b), 1e-12);
  EXPECT_EQ(found.subsets, 1);  // every subset would be the same
  EXPECT_EQ(found.deviation, 0);
}

TEST(Kid, subsets_are_of_the_smaller_side_and_differ) {
  const torch::Tensor a = made(40, 5, 0.3), b = made(9, 5, 2.1);
  const KernelDistance found = kernel_distance(a, b, 300, 7, kNoStop);
  EXPECT_EQ(found.subset_size, 9);
  EXPECT_EQ(found.subsets, 300);
  EXPECT_GT(found.deviation, 0);
  // Subsets of one side against all of the other estimate what all pictures do.
  const auto mean_within = [](const torch::Tensor& x) {
    const torch::Tensor k = (x.mm(x.t()) / 5 + 1).pow(3);
    const auto n = static_cast<double>(x.size(0));
    return (k.sum() - k.trace()).item<double>() / (n * (n - 1));
  };
  const double whole =
      mean_within(a) + mean_within(b) - 2 * (a.mm(b.t()) / 5 + 1).pow(3).mean().item<double>();
  EXPECT_NEAR(found.mean, whole, 4 * found.deviation / std::sqrt(300.0));
  EXPECT_EQ(kernel_distance(a, b, 300, 7, kNoStop).mean, found.mean);
  EXPECT_NE(kernel_distance(a, b, 300, 8, kNoStop).mean, found.mean);
}

TEST(Kid, has_no_bias) {
  // Two halves of one distribution: about nothing, below as often as above.
  torch::manual_seed(5);
  const torch::Tensor rows = torch::randn({400, 8}, torch::kDouble);
  const KernelDistance found =
      kernel_distance(rows.narrow(0, 0, 200), rows.narrow(0, 200, 200), 1, 1, kNoStop);
  EXPECT_LT(std::abs(found.mean), 0.05);
  EXPECT_GT(kernel_distance(rows.narrow(0, 0, 200), rows.narrow(0, 200, 200) + 0.5, 1, 1, kNoStop).mean, 0.3);
}

TEST(Kid, refuses_what_it_cannot_measure) {
  const torch::Tensor a = made(9, 5, 0.3);
  EXPECT_THROW(kernel_distance(a, made(9, 4, 0), 1, 1, kNoStop), core::UserError);
  EXPECT_THROW(kernel_distance(a, made(1, 5, 0), 1, 1, kNoStop), core::UserError);
  torch::Tensor broken = a.clone();
  broken[3][2] = std::nan("");
  EXPECT_THROW(kernel_distance(a, broken, 1, 1, kNoStop), core::UserError);
  core::StopFlag stop;
  stop.request();
  EXPECT_THROW(kernel_distance(a, a, 10, 1, stop), core::Stopped);
}

}  // namespace
}  // namespace microdit::score

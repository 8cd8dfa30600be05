// The fused GroupNorm + SiLU against PyTorch's two operators, forward and backward.
#include "encoders/norm_silu.h"

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace microdit::encoders {
namespace {

struct Case {
  std::int64_t batch, channels, groups, height, width;
  double offset;
};

class NormSilu : public testing::TestWithParam<Case> {};

TEST_P(NormSilu, EqualsTheTwoOperators) {
  const Case& c = GetParam();
  torch::manual_seed(3);
  const auto x = torch::randn({c.batch, c.channels, c.height, c.width}) * 2 + c.offset;
  const auto weight = torch::randn({c.channels}), bias = torch::randn({c.channels});
  const auto upstream = torch::randn_like(x);
  const auto leaf = [](const torch::Tensor& t, torch::ScalarType type) {
    return t.to(type).detach().clone().requires_grad_(true);
  };
  const auto run = [&](bool fused, torch::ScalarType type, torch::ScalarType weights) {
    const auto xi = leaf(x, type), w = leaf(weight, weights), b = leaf(bias, weights);
    const auto y =
        fused ? norm_silu(xi, w, b, c.groups, 1e-6) : at::silu(at::group_norm(xi, c.groups, w, b, 1e-6));
    y.backward(upstream.to(type));
    return std::vector<torch::Tensor>{y.detach(), xi.grad(), w.grad(), b.grad()};
  };
  const auto exact = run(false, torch::kFloat64, torch::kFloat64);
  const auto expect_close = [&](torch::ScalarType type, double bound) {
    const auto ours = run(true, type, torch::kFloat32);
    EXPECT_EQ(ours[0].scalar_type(), type);
    for (std::size_t i = 0; i < ours.size(); ++i) {
      const double error =
          (ours[i].to(torch::kFloat64) - exact[i]).norm().item<double>() / exact[i].norm().item<double>();
      EXPECT_LT(error, bound * (1 + std::abs(c.offset))) << "result " << i << " in " << type;
    }
  };
  expect_close(torch::kFloat32, 2e-6);
  expect_close(torch::kBFloat16, 8e-3);
}

INSTANTIATE_TEST_SUITE_P(Shapes, NormSilu,
                         testing::Values(Case{2, 16, 8, 16, 16, 0}, Case{3, 24, 3, 5, 7, 0},
                                         Case{1, 8, 2, 1, 1, 0}, Case{2, 128, 32, 8, 8, 0},
                                         Case{1, 16, 4, 64, 64, 5}, Case{2, 320, 32, 3, 2, 0}));

TEST(NormSiluSaturates, LargeInputsStayFinite) {
  const auto x = torch::tensor({-1e4F, 1e4F, -200.F, 90.F}).view({1, 1, 2, 2}).requires_grad_(true);
  const auto y = norm_silu(x, torch::full({1}, 1000.0), torch::zeros({1}), 1, 1e-6);
  y.sum().backward();
  EXPECT_TRUE(torch::isfinite(y).all().item<bool>());
  EXPECT_TRUE(torch::isfinite(x.grad()).all().item<bool>());
  EXPECT_GT(y.max().item<float>(), 1000.0F);
}

TEST(NormSiluThreads, BitsDoNotDependOnTheThreads) {
  const int threads = torch::get_num_threads();
  torch::manual_seed(4);
  const auto x = torch::randn({5, 16, 12, 12});
  const auto run = [&](int count) {
    torch::set_num_threads(count);
    const auto xi = x.clone().requires_grad_(true);
    const auto w = torch::ones({16}).requires_grad_(true);
    norm_silu(xi, w, torch::zeros({16}), 4, 1e-6).square().sum().backward();
    return std::pair{xi.grad(), w.grad()};
  };
  const auto one = run(1), two = run(2);
  torch::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(one.first, two.first));
  EXPECT_TRUE(torch::equal(one.second, two.second));
}

}  // namespace
}  // namespace microdit::encoders

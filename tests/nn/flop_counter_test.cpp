// Counts against what the shapes say.
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "nn/flop_counter.h"
#include "nn/kernels/attention.h"
#include "nn/kernels/matmul.h"

namespace microdit::nn {
namespace {

TEST(FlopCounter, CountsProductsConvolutionsAndAttention) {
  const torch::NoGradGuard no_grad;
  const auto counted = [](const auto& work) {
    FlopCounter counter;
    work();
    return counter.forward();
  };
  const torch::Tensor x = torch::randn({3, 5, 16}), w = torch::randn({32, 16}), b = torch::randn({32});
  const double linear = 2.0 * 15 * 16 * 32;
  EXPECT_EQ(counted([&] { kernels::linear(x, w, b); }), linear);
  EXPECT_EQ(counted([&] { kernels::linear_reference(x, w, b); }), linear);
  EXPECT_EQ(counted([&] { kernels::linear_reference(x, w, {}); }), linear);
  const torch::Tensor e = torch::randn({4, 6, 8}), w1 = torch::randn({4, 8, 12}),
                      w2 = torch::randn({4, 12, 8});
  const double experts = 2 * 2.0 * 4 * 6 * 8 * 12;
  EXPECT_EQ(counted([&] { kernels::expert_mlp(e, w1, w2); }), experts);
  EXPECT_EQ(counted([&] { kernels::expert_mlp_reference(e, w1, w2); }), experts);
  const torch::Tensor q = torch::randn({2, 9, 32}), kv = torch::randn({2, 7, 64});
  const double attention = 4.0 * 2 * 9 * 7 * 32;
  EXPECT_EQ(counted([&] { kernels::cross_attention(q, kv, 2, 1e-6); }), attention);
  EXPECT_EQ(counted([&] { kernels::cross_attention_reference(q, kv, 2, 1e-6); }), attention);
  const torch::Tensor picture = torch::randn({2, 3, 10, 8}), kernel = torch::randn({5, 3, 3, 3});
  EXPECT_EQ(counted([&] { at::conv2d(picture, kernel, {}, {2, 2}, {1, 1}); }), 2.0 * 2 * 5 * 4 * 5 * 3 * 9);
  EXPECT_EQ(counted([&] { at::conv2d(picture, kernel, {}, 2, 1); }), 2.0 * 2 * 5 * 4 * 5 * 3 * 9);
}

TEST(FlopCounter, KnowsWhatTheBackwardPassMultiplies) {
  const auto weight = torch::randn({32, 16}).requires_grad_(), x = torch::randn({15, 16});
  const double product = 2.0 * 15 * 16 * 32;
  const auto training = [&](const torch::Tensor& input, const torch::Tensor& w) {
    FlopCounter counter;
    kernels::linear(input, w, {});
    EXPECT_EQ(counter.forward(), product);
    return counter.training() / product;
  };
  EXPECT_EQ(training(x, weight), 2);  // data: nobody wants their gradient
  EXPECT_EQ(training(x.clone().requires_grad_(), weight), 3);
  EXPECT_EQ(training(x, weight.detach()), 1);
  const torch::NoGradGuard no_graph;
  EXPECT_EQ(training(x, weight), 3);
}

TEST(FlopCounter, KnowsTheShapesAndEndsWithItsLife) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor a = torch::randn({4, 8}), b = torch::randn({8, 2});
  {
    FlopCounter counter;
    at::mm(a, b);
    at::mm(a, b);
    ASSERT_EQ(counter.products().size(), 1U);
    EXPECT_EQ(counter.products().begin()->first, (Product{4, 2, 8}));
    EXPECT_EQ(counter.products().begin()->second, 2 * 2.0 * 4 * 2 * 8);
    EXPECT_EQ(FlopCounter::active(), &counter);
  }
  EXPECT_EQ(FlopCounter::active(), nullptr);
  at::mm(a, b);
}

}  // namespace
}  // namespace microdit::nn

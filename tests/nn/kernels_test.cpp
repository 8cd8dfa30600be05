// Every fused CPU kernel against torch's operators in double precision: values and gradients.
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>
#include <torch/types.h>

#include <cmath>
#include <functional>

#include "nn/autocast.h"
#include "nn/kernels/attention.h"
#include "nn/kernels/expert_rows.h"
#include "nn/kernels/matmul.h"
#include "nn/kernels/norm_modulate.h"
#include "nn/kernels/pointwise.h"

namespace microdit::nn::kernels {
namespace {

using Tensors = std::vector<torch::Tensor>;
using Apply = std::function<torch::Tensor(const Tensors&)>;

torch::Tensor noise(at::IntArrayRef shape, double phase) {
  const torch::Tensor index = torch::arange(c10::multiply_integers(shape), torch::kDouble);
  return (torch::sin(index * 0.7319 + phase) + 0.5 * torch::cos(index * 0.2113 * phase)).view(shape);
}

double relative(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a.to(torch::kDouble) - b).norm() / (b.norm() + 1e-30)).item<double>();
}

/// Output and gradients of all inputs for a fixed cotangent.
Tensors run(const Apply& apply, const Tensors& inputs, torch::ScalarType type) {
  Tensors leaves;
  for (const torch::Tensor& input : inputs) leaves.push_back(input.to(type).clone().requires_grad_());
  const torch::Tensor out = apply(leaves);
  Tensors results{out.detach()};
  for (const torch::Tensor& grad :
       torch::autograd::grad({(out * noise(out.sizes(), 3.1).to(type)).sum()}, leaves)) {
    results.push_back(grad);
  }
  return results;
}

void expect_equal(const Apply& fused, const Apply& reference, const Tensors& inputs) {
  const Tensors ours = run(fused, inputs, torch::kFloat), exact = run(reference, inputs, torch::kDouble);
  ASSERT_EQ(ours.size(), exact.size());
  for (std::size_t i = 0; i < ours.size(); ++i)
    EXPECT_LT(relative(ours[i], exact[i]), 2e-6) << "result " << i;
  const Tensors again = run(fused, inputs, torch::kFloat);
  for (std::size_t i = 0; i < ours.size(); ++i)
    EXPECT_TRUE(torch::equal(ours[i], again[i])) << "not repeatable: " << i;
  // bf16 in, bf16 out: nothing but their own rounding.
  Tensors rounded;
  for (const torch::Tensor& input : inputs) rounded.push_back(input.to(torch::kBFloat16));
  const Tensors half = run(fused, rounded, torch::kBFloat16),
                of_rounded = run(reference, rounded, torch::kDouble);
  for (std::size_t i = 0; i < half.size(); ++i) {
    EXPECT_EQ(half[i].scalar_type(), torch::kBFloat16) << i;
    EXPECT_LT(relative(half[i], of_rounded[i]), 2e-2) << "bf16 result " << i;
  }
}

TEST(NormModulate, EqualsReference) {
  for (const std::int64_t dim : {192, 40, 7}) {
    const auto wrap = [&](auto function) {
      return [function](const Tensors& t) { return function(t[0], t[1], t[2], t[3], 1e-6); };
    };
    expect_equal(wrap(norm_modulate), wrap(norm_modulate_reference),
                 {noise({3, 5, dim}, 1), noise({dim}, 2), noise({3, dim}, 3), noise({3, dim}, 4)});
  }
}

TEST(NormModulate, TakesChunksOfAWiderRow) {
  const auto wrap = [](auto function) {
    return [function](const Tensors& t) {
      const auto parts = t[2].chunk(3, 1);
      return function(t[0], t[1], parts[0], parts[2], 1e-6);
    };
  };
  expect_equal(wrap(norm_modulate), wrap(norm_modulate_reference),
               {noise({2, 3, 32}, 1), noise({32}, 2), noise({2, 96}, 3)});
}

TEST(NormModulate, WithoutModulationAndAnyNumberOfAxes) {
  const auto wrap = [](auto function) {
    return [function](const Tensors& t) { return function(t[0], t[1], {}, {}, 1e-6); };
  };
  for (const std::vector<std::int64_t>& shape :
       std::vector<std::vector<std::int64_t>>{{4, 6, 48}, {5, 48}, {48}}) {
    expect_equal(wrap(norm_modulate), wrap(norm_modulate_reference), {noise(shape, 1), noise({48}, 2)});
  }
}

TEST(NormModulate, ABf16InputDoesNotRoundTheWeight) {
  const torch::Tensor x = noise({64, 64, 16}, 1).to(torch::kBFloat16);
  const torch::Tensor weight = torch::full({16}, 1 + 1.0 / 1024);  // bf16 knows it as 1
  const auto length = [&](const torch::Tensor& w) {
    return norm_modulate(x, w, {}, {}, 1e-6).to(torch::kDouble).norm().item<double>();
  };
  EXPECT_NEAR(length(weight) / length(torch::ones({16})), 1 + 1.0 / 1024, 1e-4);
}

TEST(NormModulate, Bf16KeepsWhatIsNotFinite) {
  torch::Tensor x = noise({2, 3, 20}, 1).to(torch::kBFloat16), y = noise({2, 3, 20}, 2).to(torch::kBFloat16);
  x.flatten()[7] = NAN;
  y.flatten()[40] = INFINITY;
  const torch::Tensor out = gated_add(x, y, torch::ones({2, 20}));
  EXPECT_TRUE(out.flatten()[7].isnan().item<bool>());
  EXPECT_TRUE(out.flatten()[40].isinf().item<bool>());
  EXPECT_EQ(out.isfinite().sum().item<std::int64_t>(), out.numel() - 2);
}

TEST(GatedAdd, EqualsReference) {
  const auto wrap = [](auto function) {
    return [function](const Tensors& t) { return function(t[0], t[1], t[2]); };
  };
  expect_equal(wrap(gated_add), wrap(gated_add_reference),
               {noise({3, 5, 37}, 1), noise({3, 5, 37}, 2), noise({3, 37}, 3)});
}

TEST(Swiglu, EqualsReference) {
  const auto wrap = [](auto function) {
    return [function](const Tensors& t) { return function(t[0], t[1]); };
  };
  expect_equal(wrap(swiglu), wrap(swiglu_reference), {20 * noise({3, 5, 77}, 1), noise({3, 5, 77}, 2)});
}

TEST(Linear, EqualsReference) {
  const auto wrap = [](auto function) {
    return [function](const Tensors& t) { return function(t[0], t[1], t[2]); };
  };
  expect_equal(wrap(linear), wrap(linear_reference),
               {noise({3, 5, 37}, 1), noise({70, 37}, 2), noise({70}, 3)});
  const auto no_bias = [](auto function) {
    return [function](const Tensors& t) { return function(t[0], t[1], torch::Tensor()); };
  };
  expect_equal(no_bias(linear), no_bias(linear_reference), {noise({130, 48}, 1), noise({64, 48}, 2)});
}

/// Of fp32 parameters: the product in bf16, their gradients in fp32.
void expect_autocast(const Apply& fused, const Apply& reference, const Tensors& inputs) {
  Tensors rounded;
  for (const torch::Tensor& input : inputs) rounded.push_back(input.to(torch::kBFloat16));
  const Tensors ours = [&] {
    const Autocast autocast(true, torch::kCPU);
    return run(fused, rounded, torch::kFloat);
  }();
  const Tensors exact = run(reference, rounded, torch::kDouble);
  EXPECT_EQ(ours[0].scalar_type(), torch::kBFloat16);
  EXPECT_LT(relative(ours[0], exact[0]), 1e-2);
  for (std::size_t i = 1; i < ours.size(); ++i) {
    EXPECT_EQ(ours[i].scalar_type(), torch::kFloat) << i;
    EXPECT_LT(relative(ours[i], exact[i]), 2e-2) << i;
  }
}

TEST(Linear, UnderAutocast) {
  const auto wrap = [](auto function) {
    return [function](const Tensors& t) { return function(t[0], t[1], t[2]); };
  };
  expect_autocast(wrap(linear), wrap(linear_reference),
                  {noise({3, 5, 48}, 1), noise({64, 48}, 2), noise({64}, 3)});
  expect_autocast(wrap(expert_mlp), wrap(expert_mlp_reference),
                  {noise({3, 10, 24}, 1), noise({3, 24, 40}, 2), noise({3, 40, 24}, 3)});
}

TEST(Linear, LeavesOutGradientsNobodyAskedFor) {
  const torch::Tensor x = noise({4, 6}, 1).to(torch::kFloat),
                      w = noise({3, 6}, 2).to(torch::kFloat).requires_grad_();
  kernels::linear(x, w, torch::Tensor()).sum().backward();
  EXPECT_FALSE(x.grad().defined());
  EXPECT_LT(relative(w.grad()[0], x.sum(0).to(torch::kDouble)), 1e-6);
}

TEST(ExpertMlp, EqualsReference) {
  const auto wrap = [](auto function) {
    return [function](const Tensors& t) { return function(t[0], t[1], t[2]); };
  };
  expect_equal(wrap(expert_mlp), wrap(expert_mlp_reference),
               {noise({3, 10, 24}, 1), noise({3, 24, 40}, 2), noise({3, 40, 24}, 3)});
  expect_equal(wrap(expert_mlp), wrap(expert_mlp_reference),
               {noise({2, 0, 24}, 1), noise({2, 24, 40}, 2), noise({2, 40, 24}, 3)});
}

struct AttentionCase {
  std::int64_t tokens, rows, heads, head_dim;
};

TEST(Attention, EqualsReference) {
  for (const AttentionCase& c :
       {AttentionCase{16, 24, 6, 32}, {5, 7, 2, 16}, {33, 2, 1, 64}, {9, 17, 3, 24}}) {
    const std::int64_t width = c.heads * c.head_dim;
    const auto self = [&](auto function) {
      return [=](const Tensors& t) { return function(t[0], c.heads, 1e-6, {}); };
    };
    expect_equal(self(self_attention), self(self_attention_reference), {noise({2, c.tokens, 3 * width}, 1)});
    const auto cross = [&](auto function) {
      return [=](const Tensors& t) { return function(t[0], t[1], c.heads, 1e-6, {}); };
    };
    expect_equal(cross(cross_attention), cross(cross_attention_reference),
                 {noise({2, c.tokens, width}, 1), noise({2, c.rows, 2 * width}, 2)});
  }
}

TEST(Attention, HiddenKeysAreAsIfTheyWereNotThere) {
  const std::int64_t heads = 3, width = 48, rows = 19;
  const torch::Tensor seen = torch::rand({2, rows}) < 0.5;
  seen.select(1, 4).fill_(true);
  const auto cross = [&](auto function) {
    return [=](const Tensors& t) { return function(t[0], t[1], heads, 1e-6, seen); };
  };
  const auto self = [&](auto function) {
    return [=](const Tensors& t) { return function(t[0], heads, 1e-6, seen); };
  };
  const Tensors inputs{noise({2, 9, width}, 1), noise({2, rows, 2 * width}, 2)};
  expect_equal(cross(cross_attention), cross(cross_attention_reference), inputs);
  expect_equal(self(self_attention), self(self_attention_reference), {noise({2, rows, 3 * width}, 1)});
  for (std::int64_t b = 0; b < 2; ++b) {  // softmax over the seen alone
    const torch::Tensor kv = inputs[1][b].index({seen[b]}).unsqueeze(0);
    const torch::Tensor alone = cross_attention_reference(inputs[0].narrow(0, b, 1), kv, heads, 1e-6);
    const torch::Tensor ours = run(cross(cross_attention), inputs, torch::kFloat)[0].narrow(0, b, 1);
    EXPECT_LT(relative(ours, alone), 2e-6);
  }
  const torch::Tensor gradient = run(cross(cross_attention), inputs, torch::kFloat)[2];
  EXPECT_EQ(gradient.index({seen.logical_not()}).abs().max().item<double>(), 0);
}

torch::Tensor some_choice(std::int64_t experts, std::int64_t samples, std::int64_t taken,
                          std::int64_t tokens) {
  const torch::Tensor scores = noise({experts, samples, tokens}, 5);
  return std::get<1>(scores.topk(taken, -1)).contiguous();
}

TEST(ExpertRows, GatherEqualsReference) {
  const torch::Tensor choice = some_choice(4, 3, 5, 9);
  const auto wrap = [&](auto function) { return [=](const Tensors& t) { return function(t[0], choice); }; };
  expect_equal(wrap(gather_rows), wrap(gather_rows_reference), {noise({3, 9, 21}, 1)});
}

TEST(ExpertRows, CombineEqualsReference) {
  const torch::Tensor choice = some_choice(4, 3, 5, 9);
  const auto wrap = [&](auto function) {
    return [=](const Tensors& t) { return function(t[0], t[1], choice, 9); };
  };
  expect_equal(wrap(combine_rows), wrap(combine_rows_reference),
               {noise({4, 15, 21}, 1), noise({4, 3, 5}, 2)});
}

TEST(ExpertRows, CombineHandsOnTheNetworksType) {
  const torch::Tensor h = noise({2, 4, 8}, 1).to(torch::kBFloat16),
                      gate = noise({2, 2, 2}, 2).to(torch::kFloat);
  const torch::Tensor choice = torch::tensor({0, 1, 2, 0, 1, 2, 0, 2}, torch::kInt64).view({2, 2, 2});
  EXPECT_EQ(combine_rows(h, gate, choice, 3).scalar_type(), torch::kBFloat16);
}

TEST(ExpertRows, CombineEqualsTheOneHotFormula) {
  const torch::Tensor choice = some_choice(4, 3, 5, 9), h = noise({4, 15, 6}, 1), gate = noise({4, 3, 5}, 2);
  const torch::Tensor one_hot = torch::one_hot(choice, 9).to(torch::kDouble);
  const torch::Tensor expected =
      torch::einsum("enkt,enkd->ntd", {one_hot, gate.unsqueeze(-1) * h.view({4, 3, 5, 6})});
  EXPECT_LT(relative(combine_rows_reference(h, gate, choice, 9), expected), 1e-14);
}

}  // namespace
}  // namespace microdit::nn::kernels

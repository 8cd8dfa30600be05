// The folded enlargement + convolution against PyTorch's two operators, forward and backward.
#include "encoders/upsample_conv.h"

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace microdit::encoders {
namespace {

TEST(UpsampleConv, EqualsTheTwoOperators) {
  for (const auto& [in, out, height, width] :
       {std::array<std::int64_t, 4>{5, 7, 3, 4}, {16, 8, 1, 1}, {8, 16, 16, 9}}) {
    torch::manual_seed(6);
    const auto x = torch::randn({3, in, height, width}), weight = torch::randn({out, in, 3, 3});
    const auto bias = torch::randn({out}), upstream = torch::randn({3, out, 2 * height, 2 * width});
    const auto leaf = [](const torch::Tensor& t, torch::ScalarType type) {
      return t.to(type).detach().clone().requires_grad_(true);
    };
    const auto run = [&](torch::ScalarType type) {
      const auto weights = type == torch::kFloat64 ? type : torch::kFloat32;
      const auto xi = leaf(x, type), w = leaf(weight, weights), b = leaf(bias, weights);
      const auto y = type == torch::kFloat64 ? at::conv2d(at::upsample_nearest2d(xi, {2 * height, 2 * width}),
                                                          w, b, {1, 1}, {1, 1})
                                             : upsample_conv(xi, w, b);
      y.backward(upstream.to(type));
      return std::vector<torch::Tensor>{y.detach(), xi.grad(), w.grad(), b.grad()};
    };
    const auto exact = run(torch::kFloat64);
    for (const auto& [type, bound] : {std::pair{torch::kFloat32, 2e-6}, {torch::kBFloat16, 8e-3}}) {
      const auto ours = run(type);
      for (std::size_t i = 0; i < ours.size(); ++i) {
        ASSERT_EQ(ours[i].sizes(), exact[i].sizes());
        const double error = (ours[i].to(torch::kFloat64) - exact[i]).norm().item<double>();
        EXPECT_LT(error, bound * exact[i].norm().item<double>())
            << "result " << i << " of " << height << "x" << width << " in " << type;
      }
    }
  }
}

}  // namespace
}  // namespace microdit::encoders

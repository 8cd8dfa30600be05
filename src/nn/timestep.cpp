// Time embedding.
#include "nn/timestep.h"

#include <cmath>

#include "nn/precision.h"

namespace microdit::nn {

namespace {
constexpr std::int64_t kFrequencies = 512;
}

torch::Tensor sinusoid(const torch::Tensor& t_B, std::int64_t dim) {
  const std::int64_t half = dim / 2;
  const auto options = t_B.options().dtype(torch::kFloat);
  const torch::Tensor frequencies =
      torch::exp(torch::arange(0, half, options) * -std::log(10000.0) / static_cast<double>(half));
  const torch::Tensor angles = t_B.to(torch::kFloat).unsqueeze(1) * frequencies;
  return torch::cat({torch::cos(angles), torch::sin(angles)}, -1);
}

TimestepEmbedder::TimestepEmbedder(std::int64_t dim) {
  const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>());
  first_ = mlp->register_module("0", std::make_shared<Linear>(kFrequencies, dim, true));
  second_ = mlp->register_module("2", std::make_shared<Linear>(dim, dim, true));
}

torch::Tensor TimestepEmbedder::forward(const torch::Tensor& t_B) const {
  const Fp32Island island(t_B.device());
  return second_->forward_fp32(at::gelu(first_->forward_fp32(sinusoid(t_B, kFrequencies)), "tanh"));
}

}  // namespace microdit::nn

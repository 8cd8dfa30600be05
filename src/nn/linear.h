// The two layers every block is made of, their parameters left uninitialised (models draw them by counter).
#pragma once

#include <torch/nn/module.h>

namespace microdit::nn {

/// y = x W^T + b, W [out, in]. Without autocast, x is converted to the weight's dtype.
class Linear : public torch::nn::Module {
 public:
  Linear(std::int64_t in, std::int64_t out, bool with_bias = false);
  torch::Tensor forward(const torch::Tensor& x) const;
  /// The same in fp32 whatever the weight's dtype and autocast are.
  torch::Tensor forward_fp32(const torch::Tensor& x) const;

  torch::Tensor weight;
  torch::Tensor bias;
};

/// Layer normalisation over the last axis with a weight and no bias.
class LayerNorm : public torch::nn::Module {
 public:
  LayerNorm(std::int64_t dim, double eps);
  torch::Tensor forward(const torch::Tensor& x) const;
  /// norm(x) * (1 + scale) + shift with shift and scale [B, D] for x [B, T, D] (adaLN).
  torch::Tensor forward(const torch::Tensor& x_BTD, const torch::Tensor& shift_BD,
                        const torch::Tensor& scale_BD) const;

  torch::Tensor weight;

 private:
  double eps_;
};

}  // namespace microdit::nn

// The noise label as a vector.
#pragma once

#include <memory>

#include "nn/linear.h"

namespace microdit::nn {

/// cos | sin of t * 10000^(-i / (dim/2)): [B] -> [B, dim], fp32. dim is even.
torch::Tensor sinusoid(const torch::Tensor& t_B, std::int64_t dim);

/// Sinusoid of 512, linear, gelu_tanh, linear; fp32 whatever the weights are. Parameters mlp.0 and mlp.2.
class TimestepEmbedder : public torch::nn::Module {
 public:
  explicit TimestepEmbedder(std::int64_t dim);
  torch::Tensor forward(const torch::Tensor& t_B) const;

 private:
  std::shared_ptr<Linear> first_, second_;
};

}  // namespace microdit::nn

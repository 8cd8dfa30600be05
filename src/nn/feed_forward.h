// Dense feed-forward layers: SwiGLU in the blocks, a two-layer MLP for embeddings.
#pragma once

#include <memory>

#include "nn/linear.h"

namespace microdit::nn {

/// What a block's token mixer of width (MLP or experts) looks like from outside.
class TokenMlp : public torch::nn::Module {
 public:
  virtual torch::Tensor forward(const torch::Tensor& x_BTD) const = 0;
};

/// w3(silu(w1 x) * w2 x).
class FeedForward : public TokenMlp {
 public:
  FeedForward(std::int64_t dim, std::int64_t hidden);
  torch::Tensor forward(const torch::Tensor& x_BTD) const override;

 private:
  std::shared_ptr<Linear> w1_, w2_, w3_;
};

/// fc2(norm(gelu_tanh(fc1 x))), with biases.
class EmbeddingMlp : public torch::nn::Module {
 public:
  EmbeddingMlp(std::int64_t in, std::int64_t dim, double norm_eps);
  torch::Tensor forward(const torch::Tensor& x) const;

 private:
  std::shared_ptr<Linear> fc1_, fc2_;
  std::shared_ptr<LayerNorm> norm_;
};

/// `value` rounded up to a multiple.
constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace microdit::nn

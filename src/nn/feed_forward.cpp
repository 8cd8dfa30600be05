// FeedForward and EmbeddingMlp.
#include "nn/feed_forward.h"

#include "nn/kernels/pointwise.h"

namespace microdit::nn {

FeedForward::FeedForward(std::int64_t dim, std::int64_t hidden) {
  w1_ = register_module("w1", std::make_shared<Linear>(dim, hidden));
  w2_ = register_module("w2", std::make_shared<Linear>(dim, hidden));
  w3_ = register_module("w3", std::make_shared<Linear>(hidden, dim));
}

torch::Tensor FeedForward::forward(const torch::Tensor& x_BTD) const {
  return w3_->forward(kernels::swiglu(w1_->forward(x_BTD), w2_->forward(x_BTD)));
}

EmbeddingMlp::EmbeddingMlp(std::int64_t in, std::int64_t dim, double norm_eps) {
  fc1_ = register_module("fc1", std::make_shared<Linear>(in, dim, true));
  norm_ = register_module("norm", std::make_shared<LayerNorm>(dim, norm_eps));
  fc2_ = register_module("fc2", std::make_shared<Linear>(dim, dim, true));
}

torch::Tensor EmbeddingMlp::forward(const torch::Tensor& x) const {
  return fc2_->forward(norm_->forward(at::gelu(fc1_->forward(x), "tanh")));
}

}  // namespace microdit::nn

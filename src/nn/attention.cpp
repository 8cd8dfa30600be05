// Self- and cross-attention.
#include "nn/attention.h"

#include "core/error.h"
#include "nn/kernels/attention.h"

namespace microdit::nn {

std::int64_t num_heads_of(std::int64_t width, std::int64_t head_dim) {
  const std::int64_t heads = width / head_dim;
  if (heads == 0 || width % heads != 0) {
    core::user_error("model: a width of {} cannot be split into heads of {} (head_dim): choose a multiple",
                     width, head_dim);
  }
  return heads;
}

SelfAttention::SelfAttention(std::int64_t dim, std::int64_t width, std::int64_t head_dim, double norm_eps)
    : num_heads_(num_heads_of(width, head_dim)), eps_(norm_eps) {
  qkv_ = register_module("qkv", std::make_shared<Linear>(dim, 3 * width));
  proj_ = register_module("proj", std::make_shared<Linear>(width, dim));
}

torch::Tensor SelfAttention::forward(const torch::Tensor& x_BTD, const torch::Tensor& seen_BT) const {
  return proj_->forward(kernels::self_attention(qkv_->forward(x_BTD), num_heads_, eps_, seen_BT));
}

CrossAttention::CrossAttention(std::int64_t dim, std::int64_t head_dim, double norm_eps)
    : num_heads_(num_heads_of(dim, head_dim)), eps_(norm_eps) {
  q_linear_ = register_module("q_linear", std::make_shared<Linear>(dim, dim));
  kv_linear_ = register_module("kv_linear", std::make_shared<Linear>(dim, 2 * dim));
  proj_ = register_module("proj", std::make_shared<Linear>(dim, dim));
}

torch::Tensor CrossAttention::forward(const torch::Tensor& x_BTD, const torch::Tensor& text_BLD,
                                      const torch::Tensor& seen_BL) const {
  const torch::Tensor q = q_linear_->forward(x_BTD), kv = kv_linear_->forward(text_BLD);
  return proj_->forward(kernels::cross_attention(q, kv, num_heads_, eps_, seen_BL));
}

}  // namespace microdit::nn

// Self- and cross-attention of a MicroDiT block: normalised queries and keys, no biases.
#pragma once

#include <memory>

#include "nn/linear.h"

// Shape legend: B batch, T tokens, L text rows, D block width, W attention width.
namespace microdit::nn {

/// `width` may differ from `dim` (thin blocks); heads = width / head_dim.
class SelfAttention : public torch::nn::Module {
 public:
  SelfAttention(std::int64_t dim, std::int64_t width, std::int64_t head_dim, double norm_eps);
  /// `seen_BT`: tokens that are attended to (kernels/attention.h); undefined: all.
  torch::Tensor forward(const torch::Tensor& x_BTD, const torch::Tensor& seen_BT = {}) const;

 private:
  std::shared_ptr<Linear> qkv_, proj_;
  std::int64_t num_heads_;
  double eps_;
};

class CrossAttention : public torch::nn::Module {
 public:
  CrossAttention(std::int64_t dim, std::int64_t head_dim, double norm_eps);
  torch::Tensor forward(const torch::Tensor& x_BTD, const torch::Tensor& text_BLD,
                        const torch::Tensor& seen_BL = {}) const;

 private:
  std::shared_ptr<Linear> q_linear_, kv_linear_, proj_;
  std::int64_t num_heads_;
  double eps_;
};

/// width / head_dim heads; UserError when there is none or they do not divide the width.
std::int64_t num_heads_of(std::int64_t width, std::int64_t head_dim);

}  // namespace microdit::nn

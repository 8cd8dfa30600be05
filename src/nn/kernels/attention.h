// Multi-head attention with layer-normalised queries and keys, from packed projections.
#pragma once

#include <torch/types.h>

namespace microdit::nn::kernels {

/// Queries and keys are normalised over their whole width (no parameters), then split into heads; scale
/// 1/sqrt(width/heads). qkv [B, T, 3 W] (q | k | v) -> [B, T, W].
torch::Tensor self_attention(const torch::Tensor& qkv_BTW, std::int64_t num_heads, double eps);
/// q [B, T, W], kv [B, L, 2 W] (k | v) -> [B, T, W].
torch::Tensor cross_attention(const torch::Tensor& q_BTW, const torch::Tensor& kv_BLW, std::int64_t num_heads,
                              double eps);

/// The same from torch's operators.
torch::Tensor self_attention_reference(const torch::Tensor& qkv_BTW, std::int64_t num_heads, double eps);
torch::Tensor cross_attention_reference(const torch::Tensor& q_BTW, const torch::Tensor& kv_BLW,
                                        std::int64_t num_heads, double eps);

}  // namespace microdit::nn::kernels

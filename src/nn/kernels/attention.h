// Multi-head attention with layer-normalised queries and keys, from packed projections.
#pragma once

#include <torch/types.h>

namespace microdit::nn::kernels {

/// Queries and keys are normalised over their whole width (no parameters), then split into heads; scale
/// 1/sqrt(width/heads). qkv [B, T, 3 W] (q | k | v) -> [B, T, W]. `seen_BT`: bool, keys that queries see, at least
/// one per sample; a hidden key has weight 0. Undefined: all.
torch::Tensor self_attention(const torch::Tensor& qkv_BTW, std::int64_t num_heads, double eps,
                             const torch::Tensor& seen_BT = {});
/// q [B, T, W], kv [B, L, 2 W] (k | v) -> [B, T, W]; `seen_BL` likewise.
torch::Tensor cross_attention(const torch::Tensor& q_BTW, const torch::Tensor& kv_BLW, std::int64_t num_heads,
                              double eps, const torch::Tensor& seen_BL = {});

/// The same from torch's operators.
torch::Tensor self_attention_reference(const torch::Tensor& qkv_BTW, std::int64_t num_heads, double eps,
                                       const torch::Tensor& seen_BT = {});
torch::Tensor cross_attention_reference(const torch::Tensor& q_BTW, const torch::Tensor& kv_BLW,
                                        std::int64_t num_heads, double eps,
                                        const torch::Tensor& seen_BL = {});

}  // namespace microdit::nn::kernels

// GroupNorm followed by SiLU as one operation: the activation of every convolution of the autoencoder.
#pragma once

#include <torch/types.h>

namespace microdit::encoders {

/// silu(group_norm(x_BCHW)), differentiable. On CPU in fp32 or bf16 (weights fp32, computed in fp32) it is
/// one fused channels-last kernel (the result is channels-last and does not depend on the number of threads);
/// elsewhere it is the two operators.
torch::Tensor norm_silu(const torch::Tensor& x_BCHW, const torch::Tensor& weight_C,
                        const torch::Tensor& bias_C, std::int64_t num_groups, double eps);

/// The statistics of its norm: mean | 1/std [B, 2, C] in fp32, of a picture on CPU in fp32 or bf16.
torch::Tensor group_moments(const torch::Tensor& x_BCHW, std::int64_t num_groups, double eps);
/// What norm_silu gives with them for some of the picture's rows.
torch::Tensor norm_silu_rows(const torch::Tensor& some_BChW, const torch::Tensor& moments_B2C,
                             const torch::Tensor& weight_C, const torch::Tensor& bias_C);

}  // namespace microdit::encoders

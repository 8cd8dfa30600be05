// Element-wise steps of a block in one pass each: gated residual and SwiGLU.
#pragma once

#include <torch/types.h>

namespace microdit::nn::kernels {

/// x + gate * y for x, y [B, T, D] and gate [B, D] (undefined: x + y).
torch::Tensor gated_add(const torch::Tensor& x_BTD, const torch::Tensor& y_BTD, const torch::Tensor& gate_BD);
torch::Tensor gated_add_reference(const torch::Tensor& x_BTD, const torch::Tensor& y_BTD,
                                  const torch::Tensor& gate_BD);

/// silu(u) * v.
torch::Tensor swiglu(const torch::Tensor& u, const torch::Tensor& v);
torch::Tensor swiglu_reference(const torch::Tensor& u, const torch::Tensor& v);

}  // namespace microdit::nn::kernels

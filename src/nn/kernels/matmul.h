// Matrix products and the layers made of them, through oneDNN: on CPUs where the BLAS of LibTorch has no
// AVX-512 path (AMD) its fp32 products are more than twice as fast.
#pragma once

#include <torch/types.h>

namespace microdit::nn::kernels {

/// a [M, K] times b [K, N], fp32 on the CPU, any strides; without gradient.
torch::Tensor matrix_product(const torch::Tensor& a, const torch::Tensor& b);

/// x W^T + bias over the last axis of x; bias may be undefined.
torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias);
torch::Tensor linear_reference(const torch::Tensor& x, const torch::Tensor& weight,
                               const torch::Tensor& bias);

/// gelu(x w1) w2 for every expert: x [E, M, D], w1 [E, D, F], w2 [E, F, D] -> [E, M, D].
torch::Tensor expert_mlp(const torch::Tensor& x_EMD, const torch::Tensor& w1_EDF,
                         const torch::Tensor& w2_EFD);
torch::Tensor expert_mlp_reference(const torch::Tensor& x_EMD, const torch::Tensor& w1_EDF,
                                   const torch::Tensor& w2_EFD);

}  // namespace microdit::nn::kernels

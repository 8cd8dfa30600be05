// Layer normalisation and adaLN modulation in one pass, forward and backward.
#pragma once

#include <torch/types.h>

namespace microdit::nn::kernels {

/// ((x - mean) / sqrt(var + eps)) * weight [* (1 + scale) + shift], over the last axis.
/// x [..., D], weight [D]; shift and scale [B, D] (both or none) need x [B, T, D].
torch::Tensor norm_modulate(const torch::Tensor& x, const torch::Tensor& weight,
                            const torch::Tensor& shift_BD, const torch::Tensor& scale_BD, double eps);

/// The same from torch's operators: what the kernel is tested against, and what other devices and dtypes run.
torch::Tensor norm_modulate_reference(const torch::Tensor& x, const torch::Tensor& weight,
                                      const torch::Tensor& shift_BD, const torch::Tensor& scale_BD,
                                      double eps);

}  // namespace microdit::nn::kernels

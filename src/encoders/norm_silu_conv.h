// The autoencoder's layer: GroupNorm, SiLU and a 3x3 convolution; and the convolution that halves a picture.
#pragma once

#include <torch/types.h>

namespace microdit::encoders {

struct NormSiluConv {
  torch::Tensor gain_C, shift_C;  ///< of the norm
  std::int64_t num_groups;
  double eps;
  torch::Tensor weight_OC33, bias_O;
};

/// conv2d(norm_silu(x_BCHW), padding 1), differentiable. Where no gradient is wanted, a large picture on a CPU goes through in
/// bands of rows (row_bands.h) after one pass for the norm's statistics, which are those of the whole picture: equal up to the
/// rounding of the convolution, there is no seam.
torch::Tensor norm_silu_conv(const torch::Tensor& x_BCHW, const NormSiluConv& layer);

/// `onto` + the same; where no gradient is wanted, the sum takes the place of `onto`.
torch::Tensor add_norm_silu_conv(torch::Tensor onto_BOHW, const torch::Tensor& x_BCHW,
                                 const NormSiluConv& layer);

/// The 3x3 convolution of stride 2 of a picture with a column and a row of zeros at its right and bottom; bands as above.
torch::Tensor halving_conv(const torch::Tensor& x_BCHW, const torch::Tensor& weight_OC33,
                           const torch::Tensor& bias_O);

}  // namespace microdit::encoders

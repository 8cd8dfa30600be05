// Nearest x2 enlargement followed by a 3x3 convolution, without the enlarged picture.
#pragma once

#include <torch/types.h>

namespace microdit::encoders {

/// conv2d(nearest_x2(x_BCHW), weight_OC33, bias_O, padding 1), differentiable. On CPU in fp32 or bf16 each of
/// the four output pixels of an input pixel is a 2x2 convolution of the small picture (4/9 of the
/// arithmetic); elsewhere it is the two operators. Equal up to rounding. Where no
/// gradient is wanted, a large picture on a CPU goes through in bands of rows (row_bands.h).
torch::Tensor upsample_conv(const torch::Tensor& x_BCHW, const torch::Tensor& weight_OC33,
                            const torch::Tensor& bias_O);

}  // namespace microdit::encoders

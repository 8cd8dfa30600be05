// Classifier-free guidance (Ho & Salimans 2022) as a wrapper around a network.
#include "diffusion/denoise_fn.h"

namespace microdit::diffusion {

DenoiseFn guided(DenoiseFn denoise, double scale) {
  if (scale == 1) return denoise;
  return [denoise = std::move(denoise), scale](const DenoiseInput& input) {
    DenoiseInput both = input;
    both.x_BCHW = torch::cat({input.x_BCHW, input.x_BCHW});
    both.noise_label_B = torch::cat({input.noise_label_B, input.noise_label_B});
    both.text_BLD = torch::cat({input.text_BLD, torch::zeros_like(input.text_BLD)});
    if (input.text_mask_BL.defined())
      both.text_mask_BL = torch::cat({input.text_mask_BL, torch::zeros_like(input.text_mask_BL)});
    if (input.mask_noise_BT.defined())
      both.mask_noise_BT = torch::cat({input.mask_noise_BT, input.mask_noise_BT});
    const auto halves = denoise(both).prediction_BCHW.chunk(2);
    const torch::Tensor &conditional = halves[0], &null = halves[1];
    return DenoiseOutput{null + scale * (conditional - null), {}};
  };
}

}  // namespace microdit::diffusion

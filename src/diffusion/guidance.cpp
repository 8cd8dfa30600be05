// Classifier-free guidance (Ho & Salimans 2022) as a wrapper around a network.
#include "core/error.h"
#include "diffusion/denoise_fn.h"

namespace microdit::diffusion {
namespace {

torch::Tensor joined(const torch::Tensor& first, const torch::Tensor& second) {
  core::check(first.defined() == second.defined(), "guidance: condition and null condition are of two kinds");
  return first.defined() ? torch::cat({first, second}) : torch::Tensor();
}

/// Of each sample, over all that it has: [B, 1, 1, 1].
torch::Tensor deviation(const torch::Tensor& x_BCHW) {
  return x_BCHW.to(torch::kFloat).std({1, 2, 3}, /*unbiased=*/true, /*keepdim=*/true);
}

}  // namespace

DenoiseFn guided(DenoiseFn denoise, const Condition& null, double scale, double rescale) {
  if (scale == 1) return denoise;
  return [denoise = std::move(denoise), null, scale, rescale](const DenoiseInput& input) {
    DenoiseInput both = input;
    both.x_BCHW = torch::cat({input.x_BCHW, input.x_BCHW});
    both.noise_label_B = torch::cat({input.noise_label_B, input.noise_label_B});
    both.condition = {joined(input.condition.text_BLD, null.text_BLD),
                      joined(input.condition.text_mask_BL, null.text_mask_BL),
                      joined(input.condition.class_B, null.class_B)};
    both.mask_noise_BT = joined(input.mask_noise_BT, input.mask_noise_BT);
    const auto halves = denoise(both).prediction_BCHW.chunk(2);
    const torch::Tensor &conditional = halves[0], &unconditional = halves[1];
    torch::Tensor guided = unconditional + scale * (conditional - unconditional);
    if (rescale > 0) {
      const torch::Tensor factor = deviation(conditional) / deviation(guided).clamp_min(1e-12);
      guided = guided * (rescale * factor + (1 - rescale));
    }
    return DenoiseOutput{guided, {}};
  };
}

}  // namespace microdit::diffusion

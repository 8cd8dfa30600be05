// From diffusion's types to the models' and back: neither library knows the other.
#include "eval/denoise_fn.h"

namespace microdit::eval {
namespace {

models::Condition to_model(const diffusion::Condition& c) {
  return {c.text_BLD, c.text_mask_BL, c.class_B};
}

}  // namespace

diffusion::DenoiseFn denoise_fn(models::Denoiser& model) {
  return [&model](const diffusion::DenoiseInput& input) {
    std::optional<models::Mask> mask;
    if (input.mask_ratio > 0) mask = models::Mask{input.mask_ratio, input.mask_noise_BT};
    const models::Prediction out =
        model.forward(input.x_BCHW, input.noise_label_B, to_model(input.condition), mask);
    return diffusion::DenoiseOutput{out.prediction_BCHW, out.kept_BT};
  };
}

diffusion::Condition null_like(const models::Denoiser& model, const diffusion::Condition& condition) {
  const models::Condition null = model.null_like(to_model(condition));
  return {null.text_BLD, null.text_mask_BL, null.class_B};
}

}  // namespace microdit::eval

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

diffusion::Condition with_text_rows(const models::Denoiser& model, diffusion::Condition condition) {
  if (!model.text_conditioner()) return condition;
  const models::TextRows text =
      model.text_conditioner()->forward(condition.tokens_BL, condition.text_mask_BL);
  condition.text_BLD = text.rows_BLW;
  condition.text_mask_BL = text.seen_BL;
  return condition;
}

diffusion::Condition null_like(const models::Denoiser& model, const diffusion::Condition& condition) {
  const auto& conditioner = model.text_conditioner();
  models::Condition null;
  if (!conditioner || condition.class_B.defined()) null = model.null_like(to_model(condition));
  if (!conditioner) return {null.text_BLD, null.text_mask_BL, null.class_B};
  const models::TextRows text = conditioner->null(condition.text_BLD.size(0), condition.text_BLD.size(1));
  return {text.rows_BLW, text.seen_BL, null.class_B};
}

diffusion::Condition with_learned_null(const models::Denoiser& model, const models::DenoiserConfig& config,
                                       diffusion::Condition condition, const torch::Tensor& captioned_B) {
  if (config.text_conditioner) return with_text_rows(model, std::move(condition));
  if (!config.learned_null || !config.takes_text()) return condition;
  const diffusion::Condition null = null_like(model, condition);
  const torch::Tensor captioned_B1 =
      captioned_B.to(condition.text_BLD.device()).to(torch::kBool).unsqueeze(1);
  // In every batch: all ranks have a gradient for the null, be it zero.
  condition.text_BLD = at::where(captioned_B1.unsqueeze(2), condition.text_BLD, null.text_BLD);
  if (condition.text_mask_BL.defined())
    condition.text_mask_BL = at::where(captioned_B1, condition.text_mask_BL, null.text_mask_BL);
  return condition;
}

}  // namespace microdit::eval

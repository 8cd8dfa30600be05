// EDM's path, preconditioning and loss (Karras et al. 2022).
#include "diffusion/objective.h"

#include "core/error.h"

namespace microdit::diffusion {

namespace {

/// x0 = c_skip x_t + c_out F(c_in x_t; c_noise), table 1; all [B, 1, 1, 1] but noise_label [B].
struct Preconditioning {
  torch::Tensor skip, out, in, noise_label_B;
};

Preconditioning precondition(const torch::Tensor& sigma_B, double sigma_data) {
  const torch::Tensor sigma = sigma_B.view({-1, 1, 1, 1});
  const double data2 = sigma_data * sigma_data;
  const torch::Tensor total2 = sigma.square() + data2;
  return {data2 / total2, sigma * sigma_data / total2.sqrt(), 1 / (data2 + sigma.square()).sqrt(),
          sigma_B.log() / 4};
}

/// Mean over channels and pixels of each patch: [B, C, H, W] -> [B, T].
torch::Tensor patch_means(const torch::Tensor& x_BCHW, std::int64_t patch_size) {
  return at::avg_pool2d(x_BCHW.mean(1, /*keepdim=*/true), patch_size).flatten(1);
}

}  // namespace

void ObjectiveConfig::fields(core::Fields& f) {
  f.field("path", path, {.choices = {"edm"}, .help = "how noise is added"});
  f.field("prediction", prediction, {.choices = {"edm"}, .help = "what the network predicts"});
  f.field("sigma_data", sigma_data,
          {.min = 0, .exclusive_min = true, .help = "standard deviation of the latents"});
  f.field("p_mean", p_mean, {.help = "mean of ln sigma in training"});
  f.field("p_std", p_std,
          {.min = 0, .exclusive_min = true, .help = "standard deviation of ln sigma in training"});
}

Objective::Objective(const ObjectiveConfig& config) : config_(config) {
  if (config.path != "edm" || config.prediction != "edm") {
    core::user_error("objective: path \"{}\" with prediction \"{}\" is unknown; there is: edm with edm",
                     config.path, config.prediction);
  }
}

torch::Tensor Objective::loss(const DenoiseFn& denoise, const torch::Tensor& x0_BCHW,
                              const Condition& condition, const NoiseDraw& draw, double mask_ratio,
                              std::int64_t patch_size) const {
  const torch::Tensor sigma_B = (draw.time_B.to(torch::kFloat) * config_.p_std + config_.p_mean).exp();
  return loss_at(denoise, x0_BCHW, condition, sigma_B, draw.noise_BCHW, draw.mask_noise_BT, mask_ratio,
                 patch_size);
}

torch::Tensor Objective::loss_at(const DenoiseFn& denoise, const torch::Tensor& x0_BCHW,
                                 const Condition& condition, const torch::Tensor& sigma_B,
                                 const torch::Tensor& noise_BCHW, const torch::Tensor& mask_noise_BT,
                                 double mask_ratio, std::int64_t patch_size) const {
  const torch::Tensor x0 = x0_BCHW.to(torch::kFloat), sigma = sigma_B.to(torch::kFloat);
  const Preconditioning c = precondition(sigma, config_.sigma_data);
  const torch::Tensor x_t = x0 + noise_BCHW * sigma.view({-1, 1, 1, 1});
  const DenoiseOutput out = denoise({c.in * x_t, c.noise_label_B, condition, mask_ratio, mask_noise_BT});
  // |F - F*|^2 = |D - x0|^2 / c_out^2. The right side is taken, with the original's order of operations: at
  // small sigma both cancel in fp32, and only equal rounding keeps the gradients equal.
  const torch::Tensor residual = c.skip * x_t + c.out * out.prediction_BCHW.to(torch::kFloat) - x0;
  const torch::Tensor sigma_data_sigma = sigma * config_.sigma_data;
  const torch::Tensor weight =
      (sigma.square() + config_.sigma_data * config_.sigma_data) / sigma_data_sigma.square();
  const torch::Tensor error = weight.view({-1, 1, 1, 1}) * residual.square();
  if (!(mask_ratio > 0)) return error.mean();
  core::check(out.kept_BT.defined(), "the network returned no mask for mask_ratio {}", mask_ratio);
  const torch::Tensor per_sample = (patch_means(error, patch_size) * out.kept_BT).sum(1) / out.kept_BT.sum(1);
  return per_sample.mean();
}

torch::Tensor Objective::denoised(const DenoiseFn& denoise, const torch::Tensor& x_BCHW,
                                  const torch::Tensor& sigma_B, const Condition& condition) const {
  const torch::Tensor x = x_BCHW.to(torch::kFloat);
  const Preconditioning c = precondition(sigma_B.to(torch::kFloat), config_.sigma_data);
  const DenoiseOutput out = denoise({c.in * x, c.noise_label_B, condition});
  return c.skip * x + c.out * out.prediction_BCHW.to(torch::kFloat);
}

}  // namespace microdit::diffusion

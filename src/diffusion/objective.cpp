// Loss and x0 of every path and prediction; EDM's in the original's order of operations (Karras et al. 2022).
#include "diffusion/objective.h"

#include <cmath>

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

/// A number per sample, for a product with a picture of fp32.
torch::Tensor per_sample(const torch::Tensor& values_B) {
  return values_B.to(torch::kFloat).view({-1, 1, 1, 1});
}

}  // namespace

Objective::Objective(const ObjectiveConfig& config) : config_(settled(config)), path_(config_) {}

TimeDraw Objective::time_draw() const {
  const bool normal = config_.time_law == "log_normal" || config_.time_law == "logit_normal";
  return normal ? TimeDraw::normal : TimeDraw::uniform;
}

torch::Tensor Objective::times(const torch::Tensor& draw_B, std::int64_t side) const {
  const ObjectiveConfig& c = config_;
  if (c.time_law == "log_normal") return (draw_B.to(torch::kFloat) * c.p_std + c.p_mean).exp();
  const bool flow = c.family().is(Family::Kind::flow);
  torch::Tensor u = draw_B.to(torch::kDouble);
  if (c.time_law == "logit_normal") u = (u * c.logit_std + c.logit_mean).sigmoid();
  if (c.time_law == "uniform_discrete") {
    // vp: 0 ... T, betas: 0 ... T - 1, flow: 1/T ... 1
    const double count = flow ? static_cast<double>(c.num_timesteps) : path_.last_time() + 1;
    const torch::Tensor step = (u * count).floor();
    if (!flow) return step;
    u = (step + 1) / count;
  }
  if (!flow) return u * path_.last_time();
  const double s = path_.shift(side);
  return s * u / (1 + (s - 1) * u);
}

torch::Tensor Objective::loss(const DenoiseFn& denoise, const torch::Tensor& x0_BCHW,
                              const Condition& condition, const NoiseDraw& draw, double mask_ratio,
                              std::int64_t patch_size) const {
  return losses(denoise, x0_BCHW, condition, draw, mask_ratio, patch_size).mean;
}

Losses Objective::losses(const DenoiseFn& denoise, const torch::Tensor& x0_BCHW, const Condition& condition,
                         const NoiseDraw& draw, double mask_ratio, std::int64_t patch_size) const {
  return losses_at(denoise, x0_BCHW, condition, times(draw.time_B, x0_BCHW.size(3)), draw.noise_BCHW,
                   draw.mask_noise_BT, mask_ratio, patch_size);
}

torch::Tensor Objective::shares(const torch::Tensor& draw_B) const {
  const torch::Tensor draw = draw_B.to(torch::kDouble);
  return time_draw() == TimeDraw::normal ? torch::special_ndtr(draw) : draw;
}

/// Weight of the loss on F. A weight w on |x0 - its estimate|^2 is w b^2 on |F - F*|^2. EDM's, 1 / ratio^2 + 1 / data^2, in c = b / sigma:
/// sigma may be 0.
torch::Tensor Objective::weight(const Levels& levels, const Prediction& f) const {
  const torch::Tensor &alpha = levels.alpha_B, &sigma = levels.sigma_B;
  if (config_.weight == "min_snr")
    return (alpha / sigma).square().clamp_max(config_.snr_gamma) * f.b.square();
  core::check(config_.weight == "edm", "weight {}", config_.weight);
  const double data2 = config_.sigma_data * config_.sigma_data;
  return (sigma.square() / data2 + alpha.square()) * f.c.square();
}

torch::Tensor Objective::error(const torch::Tensor& difference) const {
  if (config_.loss == "mse") return difference.square();
  const torch::Tensor size = difference.abs();
  if (config_.loss == "l1") return size;
  const double delta = config_.loss_delta;  // Huber 1964; smooth_l1 is it divided by delta
  const torch::Tensor huber =
      torch::where(size < delta, 0.5 * difference.square(), delta * (size - 0.5 * delta));
  return config_.loss == "huber" ? huber : huber / delta;
}

torch::Tensor Objective::edm_error(const DenoiseFn& denoise, const torch::Tensor& x0, DenoiseInput& input,
                                   const torch::Tensor& sigma_B, const torch::Tensor& noise,
                                   torch::Tensor& kept) const {
  const torch::Tensor sigma = sigma_B.to(torch::kFloat);
  const Preconditioning c = precondition(sigma, config_.sigma_data);
  const torch::Tensor x_t = x0 + noise * sigma.view({-1, 1, 1, 1});
  input.x_BCHW = c.in * x_t;
  input.noise_label_B = c.noise_label_B;
  const DenoiseOutput out = denoise(input);
  kept = out.kept_BT;
  // |F - F*|^2 = |D - x0|^2 / c_out^2. The right side is taken, with the original's order of operations: at
  // small sigma both cancel in fp32, and only equal rounding keeps the gradients equal.
  const torch::Tensor residual = c.skip * x_t + c.out * out.prediction_BCHW.to(torch::kFloat) - x0;
  const torch::Tensor sigma_data_sigma = sigma * config_.sigma_data;
  const torch::Tensor weight =
      (sigma.square() + config_.sigma_data * config_.sigma_data) / sigma_data_sigma.square();
  return weight.view({-1, 1, 1, 1}) * residual.square();
}

torch::Tensor Objective::loss_at(const DenoiseFn& denoise, const torch::Tensor& x0_BCHW,
                                 const Condition& condition, const torch::Tensor& time_B,
                                 const torch::Tensor& noise_BCHW, const torch::Tensor& mask_noise_BT,
                                 double mask_ratio, std::int64_t patch_size) const {
  return losses_at(denoise, x0_BCHW, condition, time_B, noise_BCHW, mask_noise_BT, mask_ratio, patch_size)
      .mean;
}

Losses Objective::losses_at(const DenoiseFn& denoise, const torch::Tensor& x0_BCHW,
                            const Condition& condition, const torch::Tensor& time_B,
                            const torch::Tensor& noise_BCHW, const torch::Tensor& mask_noise_BT,
                            double mask_ratio, std::int64_t patch_size) const {
  const torch::Tensor x0 = x0_BCHW.to(torch::kFloat);
  DenoiseInput input{{}, {}, condition, mask_ratio, mask_noise_BT};
  torch::Tensor error, kept;
  if (is_edm() && config_.loss == "mse" && config_.weight != "min_snr") {  // edm's own weight is 1 on F
    error = edm_error(denoise, x0, input, time_B, noise_BCHW, kept);
  } else {
    const torch::Tensor time = time_B.to(torch::kDouble);
    const Levels levels = path_.at(time);
    const Prediction f = prediction_at(config_.prediction, levels, config_.sigma_data);
    const torch::Tensor scale = path_.input_scale(levels);
    input.x_BCHW = per_sample(scale * levels.alpha_B) * x0 + per_sample(scale * levels.sigma_B) * noise_BCHW;
    input.noise_label_B = path_.noise_label(time).to(torch::kFloat);
    const DenoiseOutput out = denoise(input);
    kept = out.kept_BT;
    const torch::Tensor target = per_sample(f.p) * x0 + per_sample(f.q) * noise_BCHW;
    error = this->error(out.prediction_BCHW.to(torch::kFloat) - target);
    if (config_.weight != "one") error = per_sample(weight(levels, f)) * error;
  }
  if (!(mask_ratio > 0)) return {error.mean(), error.detach().flatten(1).mean(1)};
  core::check(kept.defined(), "the network returned no mask for mask_ratio {}", mask_ratio);
  const torch::Tensor means = (patch_means(error, patch_size) * kept).sum(1) / kept.sum(1);
  return {means.mean(), means.detach()};
}

torch::Tensor Objective::denoised(const DenoiseFn& denoise, const torch::Tensor& x_BCHW, const Moment& moment,
                                  const Condition& condition) const {
  const auto all = [&](double value) { return torch::full({x_BCHW.size(0)}, value, x_BCHW.options()); };
  if (is_edm()) {
    const torch::Tensor x = x_BCHW.to(torch::kFloat);
    const Preconditioning c = precondition(all(moment.time).to(torch::kFloat), config_.sigma_data);
    const DenoiseOutput out = denoise({c.in * x, c.noise_label_B, condition});
    return (c.skip * x + c.out * out.prediction_BCHW.to(torch::kFloat)).to(torch::kDouble);
  }
  const Levels levels{all(moment.level.alpha), all(moment.level.sigma)};
  const Prediction f = prediction_at(config_.prediction, levels, config_.sigma_data);
  const auto wide = [](const torch::Tensor& values_B) { return values_B.view({-1, 1, 1, 1}); };
  const DenoiseOutput out = denoise({(wide(path_.input_scale(levels)) * x_BCHW).to(torch::kFloat),
                                     path_.noise_label(all(moment.time)).to(torch::kFloat), condition});
  return wide(f.a) * x_BCHW + wide(f.b) * out.prediction_BCHW.to(torch::kDouble);
}

}  // namespace microdit::diffusion

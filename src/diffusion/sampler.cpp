// The sampler loop: a noise grid, a step rule, a float64 state.
#include "diffusion/sampler.h"

#include <torch/utils.h>
#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace microdit::diffusion {

void SamplerConfig::fields(core::Fields& f) {
  const core::FieldRule positive{.min = 0, .exclusive_min = true}, not_negative{.min = 0};
  f.field("rule", rule, {.choices = {"heun", "first"}, .help = "second or first order steps"});
  f.field("steps", steps, {.min = 1, .max = 10000});
  f.field("guidance", guidance, {.min = 1, .help = "classifier-free guidance; 1 = none"});
  f.field("sigma_min", sigma_min, positive);
  f.field("sigma_max", sigma_max, positive);
  f.field("rho", rho, positive);
  f.field("s_churn", s_churn, not_negative);
  f.field("s_min", s_min, not_negative);
  f.field("s_max", s_max, not_negative);
  f.field("s_noise", s_noise, not_negative);
  if (sigma_min >= sigma_max) f.error("sigma_min", "must be below sigma_max");
}

std::vector<double> karras_grid(const SamplerConfig& config) {
  const double first = std::pow(config.sigma_max, 1 / config.rho),
               last = std::pow(config.sigma_min, 1 / config.rho);
  std::vector<double> sigmas;
  for (std::int64_t i = 0; i < config.steps; ++i) {
    const double along =
        config.steps > 1 ? static_cast<double>(i) / static_cast<double>(config.steps - 1) : 0;
    sigmas.push_back(std::pow(first + along * (last - first), config.rho));
  }
  sigmas.push_back(0);
  return sigmas;
}

torch::Tensor sample(const Objective& objective, const DenoiseFn& denoise, const SamplerConfig& config,
                     const SampleInput& input) {
  const torch::NoGradGuard no_grad;
  const DenoiseFn network = guided(denoise, input.null, config.guidance);
  // Slope dx/dsigma of the probability flow (eq. 4).
  const auto slope = [&](const torch::Tensor& x, double sigma) {
    const torch::Tensor sigma_B = torch::full({x.size(0)}, sigma, x.options()).to(torch::kFloat);
    const torch::Tensor denoised = objective.denoised(network, x.to(torch::kFloat), sigma_B, input.condition);
    return (x - denoised.to(torch::kDouble)) / sigma;
  };
  const std::vector<double> sigmas = karras_grid(config);
  torch::Tensor x = input.unit_BCHW.to(torch::kDouble) * sigmas[0];
  const auto stopped = [&] { return input.keep_going && !input.keep_going(); };
  for (std::size_t i = 0; i + 1 < sigmas.size(); ++i) {
    if (stopped()) return {};
    double sigma = sigmas[i];
    const double next = sigmas[i + 1];
    if (config.s_churn > 0 && sigma >= config.s_min && sigma <= config.s_max) {  // algorithm 2, lines 4 to 6
      core::check(static_cast<bool>(input.step_noise), "s_churn {} without a source of noise",
                  config.s_churn);
      const double gamma = std::min(config.s_churn / static_cast<double>(config.steps), std::sqrt(2.0) - 1);
      const double raised = sigma + gamma * sigma;
      const double spread = std::sqrt(raised * raised - sigma * sigma) * config.s_noise;
      x = x + spread * input.step_noise(static_cast<std::int64_t>(i)).to(torch::kDouble);
      sigma = raised;
    }
    const torch::Tensor here = slope(x, sigma);
    torch::Tensor moved = x + (next - sigma) * here;
    if (config.rule == "heun" && next > 0) {
      if (stopped()) return {};
      moved = x + (next - sigma) * (0.5 * here + 0.5 * slope(moved, next));
    }
    x = moved;
  }
  return x.to(torch::kFloat);
}

}  // namespace microdit::diffusion

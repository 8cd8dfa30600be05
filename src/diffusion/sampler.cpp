// The sampler loop and its three step rules.
#include "diffusion/sampler.h"

#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "diffusion/grid.h"

namespace microdit::diffusion {
namespace {

/// What the network says at a moment: x = alpha x0 + sigma n.
struct Estimate {
  torch::Tensor x0, n;
};

/// Straight on: along the flow dx = x0 dalpha + n dsigma (DDIM, EDM's and flow's Euler); with eta > 0 part of the noise is drawn
/// anew (Song et al. 2021, eq. 12 and 16; 1 = DDPM's ancestral step).
torch::Tensor first(const torch::Tensor& x, const Estimate& e, const Level& here, const Level& next,
                    double eta, const std::function<torch::Tensor()>& fresh) {
  if (here.sigma == 0) return next.alpha * e.x0;
  if (eta == 0 || next.sigma == 0) {
    const torch::Tensor moved = x + (next.sigma - here.sigma) * e.n;
    return next.alpha == here.alpha ? moved : moved + (next.alpha - here.alpha) * e.x0;
  }
  const double kept = here.alpha / next.alpha;
  const double variance = eta * eta * (here.sigma * here.sigma - kept * kept * next.sigma * next.sigma) *
                          (next.sigma * next.sigma) / (here.sigma * here.sigma);
  return next.alpha * e.x0 + std::sqrt(std::max(0.0, next.sigma * next.sigma - variance)) * e.n +
         std::sqrt(std::max(0.0, variance)) * fresh();
}

/// Along the mean of the estimates at both ends, in sigma / alpha: EDM's algorithm 2, and diffusers' Heun on betas. Where alpha
/// may vanish (flow, and vp, whose first step in sigma / alpha would be nearly all there is), along alpha and sigma themselves.
torch::Tensor heun(const torch::Tensor& x, const Estimate& mean, const Level& here, const Level& next,
                   bool in_ratio) {
  if (!in_ratio) return x + (next.sigma - here.sigma) * mean.n + (next.alpha - here.alpha) * mean.x0;
  return next.alpha * (x / here.alpha + (next.ratio() - here.ratio()) * mean.n);
}

/// DPM-Solver++(2M) (Lu et al. 2022, algorithm 2); `before`: x0 of the step before at `previous`, undefined in the first.
torch::Tensor dpmpp_2m(const torch::Tensor& x, const Estimate& e, const torch::Tensor& before,
                       const Level& previous, const Level& here, const Level& next) {
  if (here.sigma == 0 || next.sigma == 0) return next.alpha * e.x0;
  const auto lambda = [](const Level& level) { return std::log(level.alpha) - std::log(level.sigma); };
  const double h = lambda(next) - lambda(here);
  torch::Tensor x0 = e.x0;
  if (before.defined()) {
    const double half_turn = 0.5 * h / (lambda(here) - lambda(previous));  // 1 / (2 r)
    x0 = (1 + half_turn) * e.x0 - half_turn * before;
  }
  return next.sigma / here.sigma * x - next.alpha * std::expm1(-h) * x0;
}

/// Algorithm 2 of Karras et al. 2022, lines 4 to 6: more noise than there is. Path edm.
void churn(torch::Tensor& x, Moment& here, const SamplerConfig& c,
           const std::function<torch::Tensor()>& fresh) {
  const double sigma = here.level.sigma;
  if (!(c.s_churn > 0) || sigma < c.s_min || sigma > c.s_max) return;
  const double gamma = std::min(c.s_churn / static_cast<double>(c.steps), std::sqrt(2.0) - 1);
  const double raised = sigma + gamma * sigma;
  const double spread = std::sqrt(raised * raised - sigma * sigma) * c.s_noise;
  x = x + spread * fresh();
  here = {raised, {1, raised}};
}

/// The network with guidance where the noise asks for it.
class Guide {
 public:
  Guide(const Objective& objective, const DenoiseFn& bare, const SamplerConfig& config,
        const SampleInput& input)
      : objective_(objective),
        bare_(bare),
        guided_(guided(bare, input.null, config.guidance, config.guidance_rescale)),
        config_(config),
        condition_(input.condition) {}

  Estimate at(const torch::Tensor& x, const Moment& here) const {
    torch::Tensor x0 = objective_.denoised(guides(here.level.ratio()) ? guided_ : bare_, x, here, condition_);
    if (config_.clip_x0 > 0) x0 = x0.clamp(-config_.clip_x0, config_.clip_x0);
    const Level& level = here.level;
    return {x0, level.sigma == 0 ? torch::zeros_like(x) : (x - level.alpha * x0) / level.sigma};
  }

 private:
  /// A bound at its default is none: flow begins at ratio infinity, and a path may end at 0.
  bool guides(double ratio) const {
    const SamplerConfig open;
    return (config_.guidance_min == open.guidance_min || ratio > config_.guidance_min) &&
           (config_.guidance_max == open.guidance_max || ratio <= config_.guidance_max);
  }

  const Objective& objective_;
  const DenoiseFn& bare_;
  DenoiseFn guided_;
  const SamplerConfig& config_;
  const Condition& condition_;
};

}  // namespace

bool adds_noise(const SamplerConfig& config, const ObjectiveConfig& objective) {
  const SamplerConfig wanted = settled(config, objective);
  return wanted.s_churn > 0 || step_rule(wanted, objective).eta > 0;
}

torch::Tensor sample(const Objective& objective, const DenoiseFn& denoise, const SamplerConfig& wanted,
                     const SampleInput& input) {
  const torch::NoGradGuard no_grad;
  const SamplerConfig config = settled(wanted, objective.config());
  const Family& family = objective.config().family();
  const StepRule rule = step_rule(config, objective.config());
  const std::vector<Moment> grid =
      make_grid(config, objective.config(), objective.path(), input.unit_BCHW.size(3));
  core::check(input.step_noise || !adds_noise(config, objective.config()),
              "no source of noise for the steps");
  const Guide network(objective, denoise, config, input);
  const auto stopped = [&] { return input.keep_going && !input.keep_going(); };
  torch::Tensor x = input.unit_BCHW.to(torch::kDouble), before;
  if (!rule.from_unit) x = x * grid[0].level.sigma;
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    if (stopped()) return {};
    const auto fresh = [&] { return input.step_noise(static_cast<std::int64_t>(i)).to(torch::kDouble); };
    Moment here = grid[i];
    const Moment& next = grid[i + 1];
    churn(x, here, config, fresh);
    const Estimate e = network.at(x, here);
    if (rule.kind == StepRule::Kind::dpmpp_2m) {
      x = dpmpp_2m(x, e, before, grid[i > 0 ? i - 1 : 0].level, here.level, next.level);
      before = e.x0;
    } else {
      torch::Tensor moved = first(x, e, here.level, next.level, rule.eta, fresh);
      if (rule.kind == StepRule::Kind::heun && next.level.sigma > 0) {
        if (stopped()) return {};
        const Estimate there = network.at(moved, next);
        moved = heun(x, {0.5 * e.x0 + 0.5 * there.x0, 0.5 * e.n + 0.5 * there.n}, here.level, next.level,
                     family.is(Family::Kind::edm) || family.is(Family::Kind::betas));
      }
      x = moved;
    }
    if (input.each_step && i + 2 < grid.size()) input.each_step(static_cast<std::int64_t>(i), x);
  }
  return x.to(torch::kFloat);
}

}  // namespace microdit::diffusion

// Levels of the four families of paths.
#include "diffusion/path.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace microdit::diffusion {
namespace {

/// Nichol & Dhariwal 2021, eq. 17, in steps that are not more than 0.999.
torch::Tensor squared_cosine_betas(std::int64_t count) {
  const auto level = [&](std::int64_t step) {
    const double t = static_cast<double>(step) / static_cast<double>(count);
    return std::pow(std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2), 2);
  };
  std::vector<double> betas;
  for (std::int64_t i = 0; i < count; ++i) betas.push_back(std::min(1 - level(i + 1) / level(i), 0.999));
  return torch::tensor(betas, torch::kDouble).to(torch::kFloat);
}

// In fp32 as diffusers computes it: 1 - gamma of the first steps has few digits, and models were trained with just these.
torch::Tensor gammas_of(const ObjectiveConfig& c) {
  torch::Tensor betas;
  if (c.path == "squaredcos_cap_v2") betas = squared_cosine_betas(c.num_timesteps);
  if (c.path == "linear") betas = torch::linspace(c.beta_start, c.beta_end, c.num_timesteps, torch::kFloat);
  if (c.path == "scaled_linear")
    betas = torch::linspace(std::sqrt(c.beta_start), std::sqrt(c.beta_end), c.num_timesteps, torch::kFloat)
                .square();
  return torch::cumprod(1 - betas, 0).to(torch::kDouble);
}

}  // namespace

Path::Path(const ObjectiveConfig& config) : config_(config), kind_(config.family().kind) {
  if (kind_ == Family::Kind::betas) gammas_T_ = gammas_of(config_);
  if (config_.schedule) check_schedule(*config_.schedule, config_.path);
}

torch::Tensor Path::gamma(const torch::Tensor& time) const {
  const ObjectiveConfig& c = config_;
  const torch::Tensor t = time / static_cast<double>(c.num_timesteps);
  if (c.schedule) return c.schedule->alpha_squared(t).clamp(c.gamma_clip, 1);
  if (c.path == "vp_linear") return (1 - t).clamp(c.gamma_clip, 1);
  const bool cosine = c.path == "vp_cosine";
  const auto curve = [&](const torch::Tensor& u) {
    return cosine ? (u * (std::numbers::pi / 2)).cos().clamp_min(0).pow(2 * c.gamma_tau)
                  : (u / c.gamma_tau).sigmoid();
  };
  const torch::Tensor begin = curve(torch::full_like(t, c.gamma_start)),
                      end = curve(torch::full_like(t, c.gamma_end));
  const torch::Tensor here = curve(t * (c.gamma_end - c.gamma_start) + c.gamma_start);
  return ((end - here) / (end - begin)).clamp(c.gamma_clip, 1);
}

Levels Path::at(const torch::Tensor& time_B) const {
  switch (kind_) {
    case Family::Kind::edm:
      return {torch::ones_like(time_B), time_B};
    case Family::Kind::flow:
      return {1 - time_B, time_B};
    case Family::Kind::vp: {
      const torch::Tensor g = gamma(time_B);
      return {g.sqrt(), (1 - g).sqrt()};
    }
    case Family::Kind::betas:
      break;
  }
  if (!time_B.is_cpu() && !(there_.defined() && there_.device() == time_B.device()))
    there_ = gammas_T_.to(time_B.device());
  const torch::Tensor& table = time_B.is_cpu() ? gammas_T_ : there_;
  const torch::Tensor below = time_B.floor().clamp(0, table.size(0) - 1), part = time_B - below;
  const torch::Tensor low = table.index({below.to(torch::kLong)});
  const torch::Tensor high = table.index({(below + 1).clamp_max(table.size(0) - 1).to(torch::kLong)});
  // Between two steps the ratio is on a line.
  const torch::Tensor ratio = ((1 - low) / low).sqrt() * (1 - part) + ((1 - high) / high).sqrt() * part;
  const torch::Tensor whole = part == 0, alpha = (ratio.square() + 1).rsqrt();
  return {torch::where(whole, low.sqrt(), alpha), torch::where(whole, (1 - low).sqrt(), alpha * ratio)};
}

Moment Path::moment(double time) const {
  const Levels levels = at(torch::full({1}, time, torch::kDouble));
  return {time, {levels.alpha_B.item<double>(), levels.sigma_B.item<double>()}};
}

Moment Path::moment_of_ratio(double ratio) const {
  const double alpha = 1 / std::sqrt(ratio * ratio + 1);
  const Level level{alpha, alpha * ratio};
  double low = 0, high = last_time();
  if (kind_ == Family::Kind::betas) {
    while (high - low > 1) {
      const double middle = std::floor((low + high) / 2);
      (moment(middle).level.ratio() <= ratio ? low : high) = middle;
    }
    const double from = std::log(moment(low).level.ratio()), to = std::log(moment(high).level.ratio());
    return {low + std::clamp((std::log(ratio) - from) / (to - from), 0.0, 1.0), level};
  }
  core::check(kind_ == Family::Kind::vp, "path {} has no inverse", config_.path);
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (moment(middle).level.ratio() <= ratio ? low : high) = middle;
  }
  return {low, level};
}

double Path::last_time() const {
  const auto steps = static_cast<double>(config_.num_timesteps);
  switch (kind_) {
    case Family::Kind::vp:
      return steps;
    case Family::Kind::betas:
      return steps - 1;
    case Family::Kind::flow:
      return 1;
    case Family::Kind::edm:
      break;
  }
  core::check(false, "path edm has no last time");
  return 0;
}

double Path::shift(std::int64_t side) const {
  return config_.shift_side == 0
             ? config_.shift
             : config_.shift * static_cast<double>(side) / static_cast<double>(config_.shift_side);
}

double Path::shifted(double u, std::int64_t side) const {
  const double s = shift(side);
  return s * u / (1 + (s - 1) * u);
}

double Path::unshifted(double time, std::int64_t side) const {
  const double s = shift(side);
  return time / (s - (s - 1) * time);
}

torch::Tensor Path::noise_label(const torch::Tensor& time_B) const {
  if (kind_ == Family::Kind::edm) return time_B.log() / 4;
  if (kind_ == Family::Kind::flow) return time_B * static_cast<double>(config_.num_timesteps);
  return time_B;
}

torch::Tensor Path::input_scale(const Levels& levels) const {
  if (kind_ != Family::Kind::edm) return torch::ones_like(levels.alpha_B);
  return (levels.sigma_B.square() + config_.sigma_data * config_.sigma_data).rsqrt();
}

}  // namespace microdit::diffusion

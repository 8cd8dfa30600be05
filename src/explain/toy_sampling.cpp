// Start noise and fresh noise by row, so that clouds can be compared point by point.
#include "explain/toy_sampling.h"

#include <torch/utils.h>

#include "diffusion/noise.h"
#include "diffusion/sampler.h"

namespace microdit::explain {
namespace {

torch::Tensor unit_noise(core::Purpose purpose, std::uint64_t seed, std::uint64_t step, std::int64_t count) {
  std::vector<diffusion::NoiseKey> keys;
  for (std::int64_t i = 0; i < count; ++i)
    keys.push_back({.seed = seed, .a = static_cast<std::uint64_t>(i), .b = step});
  return diffusion::normal_rows(keys, purpose, {2, 1, 1});
}

}  // namespace

diffusion::SamplerConfig toy_sampler(const std::string& rule, std::int64_t steps, double guidance) {
  diffusion::SamplerConfig config;
  config.rule = rule;
  config.steps = steps;
  config.guidance = guidance;
  config.grid = "trailing";
  return config;
}

Way toy_way(const ToyModel& model, const diffusion::SamplerConfig& sampler, std::int64_t count,
            const diffusion::Condition& condition, std::uint64_t seed, const core::StopFlag& stop) {
  Way way = {unit_noise(core::Purpose::sampler, seed, 0, count).to(torch::kDouble)};
  const torch::Tensor sample = diffusion::sample(
      model.objective(), model.denoise_fn(), sampler,
      {.unit_BCHW = way.front(),
       .condition = condition,
       .null = model.null(count),
       .step_noise =
           [&](std::int64_t step) {
             return unit_noise(core::Purpose::churn, seed, static_cast<std::uint64_t>(step), count);
           },
       .keep_going = [&] { return !stop.requested(); },
       .each_step = [&](std::int64_t, const torch::Tensor& x) { way.push_back(x.clone()); }});
  if (!sample.defined()) throw core::Stopped();
  way.push_back(sample.to(torch::kDouble));
  return way;
}

double length_by_distance(const Way& way) {
  const auto distance = [](const torch::Tensor& a, const torch::Tensor& b) {
    return (a - b).square().sum({1, 2, 3}).sqrt();
  };
  torch::Tensor length = torch::zeros({way.front().size(0)}, torch::kDouble);
  for (std::size_t i = 1; i < way.size(); ++i) length += distance(way[i], way[i - 1]);
  return (length / distance(way.back(), way.front())).median().item<double>();
}

double straightness(const Way& way) {
  const auto square = [](const torch::Tensor& x) { return x.square().sum({1, 2, 3}).mean().item<double>(); };
  const double steps = static_cast<double>(way.size() - 1);
  const torch::Tensor whole = way.back() - way.front();
  double sum = 0;
  for (std::size_t i = 1; i < way.size(); ++i) sum += square((way[i] - way[i - 1]) * steps - whole) / steps;
  return sum / square(whole);
}

image::Series dots(const torch::Tensor& x_N211, std::int64_t color, bool faint, double size) {
  const torch::Tensor x = x_N211.to(torch::kDouble).reshape({-1, 2}).contiguous();
  image::Series series{
      .name = "", .x = {}, .y = {}, .faint = faint, .dots = true, .size = size, .color = color};
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    series.x.push_back(x.data_ptr<double>()[2 * i]);
    series.y.push_back(x.data_ptr<double>()[2 * i + 1]);
  }
  return series;
}

}  // namespace microdit::explain

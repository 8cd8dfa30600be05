// Grids: EDM's, those of diffusers' schedulers, and nano-diffusion's.
#include "diffusion/grid.h"

#include <cmath>

#include "core/error.h"

namespace microdit::diffusion {
namespace {

/// numpy.linspace(low, high, count) backwards, to the last bit: it is rounded. One number alone is the high one.
std::vector<double> line(double high, double low, std::int64_t count) {
  std::vector<double> values{high};
  const double step = count > 1 ? (high - low) / static_cast<double>(count - 1) : 0;
  for (std::int64_t i = count - 2; i >= 0; --i) {
    const volatile double offset = static_cast<double>(i) * step;  // rounded before the sum, as numpy does
    values.push_back(offset + low);
  }
  return values;
}

std::vector<double> karras(double high, double low, double rho, std::int64_t count) {
  const double first = std::pow(high, 1 / rho), last = std::pow(low, 1 / rho);
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const double along = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0;
    values.push_back(std::pow(first + along * (last - first), rho));
  }
  return values;
}

/// round(torch.linspace(0, last, count)) backwards, in fp32 as nano-diffusion has it: halves lie on either side by its rounding.
std::vector<double> rounded_line(double last, std::int64_t count) {
  if (count == 1) return {std::nearbyint(last)};
  const torch::Tensor steps =
      torch::linspace(0, last, count, torch::kFloat).round().flip(0).to(torch::kDouble);
  return {steps.data_ptr<double>(), steps.data_ptr<double>() + count};
}

/// Whole steps of vp (0 ... last) and betas (0 ... last), rounded half to even as numpy and torch do, and uniform's broken ones.
/// dpmpp_2m takes one step more and leaves the last out, as diffusers has it.
std::vector<double> steps_of(const std::string& grid, const SamplerConfig& c, bool betas, double last) {
  const bool one_more = c.rule == "dpmpp_2m" && grid != "trailing";
  const std::int64_t count = c.steps + (one_more ? 1 : 0);
  const double times = betas ? last + 1 : last;  // steps from no noise to all
  const double stride = times / static_cast<double>(count);
  std::vector<double> values;
  if (grid == "linspace" && !betas) values = rounded_line(last, count);
  if (betas && (grid == "linspace" || grid == "uniform")) values = line(last, 0, count);
  for (std::int64_t i = 0; i < count; ++i) {
    if (grid == "uniform" && !betas) values.push_back(times - static_cast<double>(i) * stride);
    if (grid == "leading") values.push_back(static_cast<double>(count - 1 - i) * std::floor(stride));
    if (grid == "trailing")
      values.push_back(std::nearbyint(times - static_cast<double>(i) * stride) - (betas ? 1 : 0));
  }
  if (grid == "linspace")
    for (double& value : values) value = std::nearbyint(value);
  values.resize(static_cast<std::size_t>(c.steps));
  if (grid != "uniform")
    for (std::size_t i = 1; i < values.size(); ++i)
      if (values[i] >= values[i - 1])
        core::user_error("steps={}: more than the grid \"{}\" has times; take fewer, or grid=uniform",
                         c.steps, grid);
  return values;
}

std::vector<Moment> flow_moments(const SamplerConfig& c, const ObjectiveConfig& objective, const Path& path,
                                 double last, std::int64_t side) {
  const std::string grid = step_rule(c, objective).grid;
  const double unit = static_cast<double>(objective.num_timesteps), least = 1 / unit;
  const double s = objective.shift, top = path.unshifted(last, side), steps = static_cast<double>(c.steps);
  std::vector<Moment> moments;
  if (grid == "uniform")
    for (const double time : line(last, least, c.steps)) moments.push_back(path.moment(time));
  if (grid == "shifted" && c.rule == "dpmpp_2m") {
    // diffusers' flow sigmas: from one step below pure noise, and the network is told whole steps.
    for (std::int64_t i = 0; i < c.steps; ++i) {
      Moment moment = path.moment(path.shifted((top - least) * (1 - static_cast<double>(i) / steps), side));
      moment.time = std::floor(moment.time * unit + 1e-9) / unit;
      moments.push_back(moment);
    }
  } else if (grid == "shifted") {
    // ... which shifts the least sigma, too, before it lays the grid.
    for (const double u : line(top, s * least / (1 + (s - 1) * least), c.steps))
      moments.push_back(path.moment(path.shifted(u, side)));
  }
  if (grid == "trailing")
    for (std::int64_t i = 0; i < c.steps; ++i)
      moments.push_back(path.moment(path.shifted(top * (1 - static_cast<double>(i) / steps), side)));
  return moments;
}

}  // namespace

std::vector<Moment> make_grid(const SamplerConfig& c, const ObjectiveConfig& objective, const Path& path,
                              std::int64_t side) {
  const std::string grid = step_rule(c, objective).grid;
  std::vector<Moment> moments;
  const Family& family = objective.family();
  if (family.is(Family::Kind::edm)) {
    for (const double sigma : karras(c.sigma_max, c.sigma_min, c.rho, c.steps))
      moments.push_back({sigma, {1, sigma}});
    moments.push_back({});
    return moments;
  }
  if (c.max_time > path.last_time())
    core::user_error("max_time={}: beyond the path's end, {}", c.max_time, path.last_time());
  const double last = c.max_time > 0 ? c.max_time : path.last_time();
  const bool betas = family.is(Family::Kind::betas);
  if (family.is(Family::Kind::flow)) {
    moments = flow_moments(c, objective, path, last, side);
  } else if (grid == "karras") {
    const double high = path.moment(last).level.ratio(), low = path.moment(betas ? 0 : 1).level.ratio();
    for (const double ratio : karras(high, low, c.rho, c.steps)) {
      moments.push_back(path.moment_of_ratio(ratio));
      // diffusers tells the network whole steps here, but on the cosine.
      if (c.rule == "dpmpp_2m" && objective.path != "squaredcos_cap_v2")
        moments.back().time = std::nearbyint(moments.back().time);
    }
  } else {
    for (const double time : steps_of(grid, c, betas, last)) moments.push_back(path.moment(time));
  }
  moments.push_back({});
  return moments;
}

}  // namespace microdit::diffusion

// Data of one Gaussian, whose exact network is known: every legal path, prediction and rule reaches its mean and deviation.
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <cmath>

#include "diffusion/exact_gaussian.h"
#include "diffusion/sampler.h"
#include "unit_normals.h"

namespace microdit::diffusion {
namespace {

constexpr Gaussian kData;

SamplerConfig config_of(const std::string& rule, std::int64_t steps) {
  SamplerConfig config;
  config.rule = rule;
  config.steps = steps;
  config.guidance = 1;
  return config;
}

TEST(Gaussian, EveryPathPredictionAndRuleReachesMeanAndDeviation) {
  int combinations = 0;
  for (const Family& family : families()) {
    for (const std::string& path : family.paths) {
      for (const std::string& prediction : family.predictions) {
        const Objective objective({.path = path, .prediction = prediction});
        for (const std::string& rule : family.rules) {
          const bool second = rule == "heun" || rule == "dpmpp_2m";
          const Gaussian out = sampled_gaussian(objective, config_of(rule, second ? 60 : 200));
          // Standard errors .006 of the mean, .0045 of the deviation; the rest is the grid's coarseness (RulesHaveTheirOrder).
          EXPECT_NEAR(out.mean, kData.mean, 0.03) << path << " " << prediction << " " << rule;
          EXPECT_NEAR(out.std, kData.std, 0.045) << path << " " << prediction << " " << rule;
          ++combinations;
        }
      }
    }
  }
  EXPECT_EQ(combinations, 1 * 3 * 5 + 3 * 3 * 7 + 3 * 3 * 7 + 1 * 2 * 5);
}

/// Distance from where the exact flow leads: (x - alpha mean) / sqrt(alpha^2 std^2 + sigma^2) stays as it is.
double error_of(const Objective& objective, const SamplerConfig& config) {
  const torch::Tensor unit = unit_normals(2, {2, 4, 4, 4});
  torch::Tensor begin = unit.to(torch::kDouble);
  Level top = objective.config().path == "edm" ? Level{1, config.sigma_max}
                                               : objective.path().moment(objective.path().last_time()).level;
  if (!step_rule(config, objective.config()).from_unit) begin = begin * top.sigma;
  const torch::Tensor exact =
      kData.mean + kData.std * (begin - top.alpha * kData.mean) /
                       std::sqrt(top.alpha * top.alpha * kData.std * kData.std + top.sigma * top.sigma);
  const torch::Tensor out = sample(objective, exact_network(objective), config, {.unit_BCHW = unit});
  return (out - exact).norm().item<double>() / exact.norm().item<double>();
}

TEST(Gaussian, RulesHaveTheirOrder) {
  struct Case {
    const char *path, *prediction, *rule, *grid;
    double least, most;  ///< of the error at N steps over that at 2 N
  };
  for (const Case& c : {Case{"edm", "edm", "first", "auto", 1.7, 2.3},
                        {"edm", "eps", "heun", "auto", 3.3, 9},
                        {"edm", "x0", "dpmpp_2m", "auto", 3.3, 9},
                        {"flow", "velocity", "euler", "auto", 1.7, 2.3},
                        {"flow", "x0", "heun", "auto", 3.3, 9},
                        {"vp_cosine", "v", "ddim", "uniform", 1.5, 2.3},
                        {"scaled_linear", "eps", "ddim", "karras", 1.7, 2.3},
                        {"scaled_linear", "v", "heun", "karras", 3.3, 9},
                        {"scaled_linear", "eps", "dpmpp_2m", "karras", 3.3, 9}}) {
    const Objective objective({.path = c.path, .prediction = c.prediction});
    SamplerConfig config = config_of(c.rule, 20);
    config.grid = c.grid;
    const double coarse = error_of(objective, config);
    config.steps = 40;
    const double fine = error_of(objective, config);
    EXPECT_GT(coarse / fine, c.least) << c.path << " " << c.rule << ": " << coarse << " " << fine;
    EXPECT_LT(coarse / fine, c.most) << c.path << " " << c.rule << ": " << coarse << " " << fine;
  }
}

TEST(Gaussian, DdpmIsDdimWithAllNoiseDrawnAnew) {
  const Objective objective({.path = "squaredcos_cap_v2", .prediction = "v"});
  SamplerConfig ddim = config_of("ddim", 20), ddpm = config_of("ddpm", 20);
  ddim.eta = 1;
  const SampleInput input{.unit_BCHW = unit_normals(1, {2, 1, 4, 4}), .step_noise = [](std::int64_t step) {
                            return unit_normals(100 + static_cast<std::uint64_t>(step), {2, 1, 4, 4});
                          }};
  const auto run = [&](const SamplerConfig& c) {
    return sample(objective, exact_network(objective), c, input);
  };
  EXPECT_TRUE(torch::equal(run(ddim), run(ddpm)));
  ddim.eta = 0.5;
  EXPECT_FALSE(torch::allclose(run(ddim), run(ddpm), 1e-2, 1e-2));
}

}  // namespace
}  // namespace microdit::diffusion

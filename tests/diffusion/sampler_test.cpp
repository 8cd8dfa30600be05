// The sampler against an independent algorithm 2, and on a Gaussian whose exact denoiser is known.
#include "diffusion/sampler.h"

#include <gtest/gtest.h>

#include <cmath>

#include "diffusion/grid.h"
#include "unit_normals.h"

namespace microdit::diffusion {
namespace {

constexpr double kMean = 0.7;
constexpr double kStd = 0.4;

/// The network F whose preconditioned output is the exact denoiser of data N(kMean, kStd^2):
/// D(x; s) = (kStd^2 x + s^2 kMean) / (kStd^2 + s^2).
DenoiseFn gaussian_network(double sigma_data) {
  return [sigma_data](const DenoiseInput& in) {
    const torch::Tensor sigma = (4 * in.noise_label_B.to(torch::kDouble)).exp().view({-1, 1, 1, 1});
    const torch::Tensor total2 = sigma.square() + sigma_data * sigma_data;
    const torch::Tensor x = in.x_BCHW.to(torch::kDouble) * total2.sqrt();
    const torch::Tensor exact = (kStd * kStd * x + sigma.square() * kMean) / (kStd * kStd + sigma.square());
    const torch::Tensor f =
        (exact - sigma_data * sigma_data / total2 * x) * total2.sqrt() / (sigma * sigma_data);
    return DenoiseOutput{f.to(torch::kFloat), {}};
  };
}

std::vector<double> sigmas_of(const SamplerConfig& config) {
  const Objective objective({});
  std::vector<double> sigmas;
  for (const Moment& moment : make_grid(config, objective.config(), objective.path(), 8)) {
    EXPECT_EQ(moment.level.alpha, 1);
    sigmas.push_back(moment.level.sigma);
  }
  return sigmas;
}

TEST(Karras, GridIsTheOriginals) {
  SamplerConfig config;
  config.steps = 5;
  const std::vector<double> grid = sigmas_of(config);
  const double expected[] = {80, 17.527832, 2.515219, .169753, .002, 0};
  ASSERT_EQ(grid.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(grid[i], expected[i], 1e-6);
}

struct Rule {
  const char* name;
  double churn;
  std::int64_t steps;
};

TEST(Sampler, ReachesMeanAndStdOfAGaussian) {
  const Objective objective({});
  for (const Rule& rule : {Rule{"heun", 0, 40}, {"first", 0, 400}, {"heun", 20, 60}}) {
    SamplerConfig config;
    config.rule = rule.name;
    config.steps = rule.steps;
    config.guidance = 1;
    config.s_churn = rule.churn;
    const torch::Tensor x = unit_normals(1);
    const torch::Tensor out = sample(objective, gaussian_network(0.9), config,
                                     {.unit_BCHW = x, .step_noise = [&](std::int64_t step) {
                                        return unit_normals(100 + static_cast<std::uint64_t>(step));
                                      }});
    // 16384 draws: standard errors .003 of the mean, .002 of the deviation.
    EXPECT_NEAR(out.mean().item<double>(), kMean, 0.012) << rule.name << " churn " << rule.churn;
    EXPECT_NEAR(out.std().item<double>(), kStd, 0.01) << rule.name << " churn " << rule.churn;
  }
}

TEST(Sampler, HeunIsOfSecondOrderAndFirstOfFirst) {
  const Objective objective({});
  const torch::Tensor x = unit_normals(2, {2, 4, 4, 4});
  const auto run = [&](const char* rule, std::int64_t steps) {
    SamplerConfig config;
    config.rule = rule;
    config.steps = steps;
    config.guidance = 1;
    config.sigma_min = 0.05;
    return sample(objective, gaussian_network(0.9), config, start_of(x));
  };
  // The exact flow from 80 to 0: (x - mean) shrinks by kStd / sqrt(kStd^2 + 80^2).
  const torch::Tensor exact =
      kMean + (80 * x.to(torch::kDouble) - kMean) * (kStd / std::sqrt(kStd * kStd + 6400));
  const auto error = [&](const char* rule, std::int64_t steps) {
    return (run(rule, steps) - exact).norm().item<double>();
  };
  EXPECT_GT(error("heun", 10) / error("heun", 20), 2.5);
  EXPECT_LT(error("heun", 20), 0.2 * error("first", 20));
}

/// Algorithm 2 of Karras et al. 2022, written from the paper on plain doubles for one number.
double algorithm_2(double unit, const std::vector<double>& t, const SamplerConfig& c,
                   const std::vector<double>& epsilon) {
  const auto denoise = [](double x, double s) {
    return (kStd * kStd * x + s * s * kMean) / (kStd * kStd + s * s);
  };
  const std::size_t n = t.size() - 1;
  double x = t[0] * unit;
  for (std::size_t i = 0; i < n; ++i) {
    const double gamma = t[i] >= c.s_min && t[i] <= c.s_max
                             ? std::min(c.s_churn / static_cast<double>(n), std::sqrt(2.0) - 1)
                             : 0;
    const double t_hat = t[i] * (1 + gamma);
    const double x_hat = x + std::sqrt(t_hat * t_hat - t[i] * t[i]) * c.s_noise * epsilon[i];
    const double d = (x_hat - denoise(x_hat, t_hat)) / t_hat;
    x = x_hat + (t[i + 1] - t_hat) * d;
    if (t[i + 1] != 0) {
      const double d2 = (x - denoise(x, t[i + 1])) / t[i + 1];
      x = x_hat + (t[i + 1] - t_hat) * 0.5 * (d + d2);
    }
  }
  return x;
}

TEST(Sampler, EqualsAlgorithm2) {
  for (const double churn : {0.0, 8.0}) {
    SamplerConfig config;
    config.steps = 12;
    config.guidance = 1;
    config.s_churn = churn;
    if (churn > 0) {
      config.s_min = 0.05;
      config.s_max = 50;
      config.s_noise = 1.007;
    }
    const torch::Tensor x = unit_normals(3, {1, 1, 1, 1});
    std::vector<double> epsilon;
    for (std::uint64_t i = 0; i < 12; ++i)
      epsilon.push_back(unit_normals(200 + i, {1, 1, 1, 1}).item<double>());
    const torch::Tensor out =
        sample(Objective({}), gaussian_network(0.9), config,
               {.unit_BCHW = x, .step_noise = [](std::int64_t step) {
                  return unit_normals(200 + static_cast<std::uint64_t>(step), {1, 1, 1, 1});
                }});
    EXPECT_NEAR(out.item<double>(), algorithm_2(x.item<double>(), sigmas_of(config), config, epsilon), 2e-5)
        << churn;
  }
}

TEST(Guidance, IsNullPlusScaledDifference) {
  const DenoiseFn network = [](const DenoiseInput& in) {
    return DenoiseOutput{in.x_BCHW * (1 + in.condition.text_BLD.sum({1, 2}).view({-1, 1, 1, 1})) +
                             in.noise_label_B.view({-1, 1, 1, 1}),
                         {}};
  };
  DenoiseInput in;
  in.x_BCHW = unit_normals(4, {3, 2, 2, 2});
  in.noise_label_B = unit_normals(5, {3});
  in.condition.text_BLD = unit_normals(6, {3, 2, 2});
  const torch::Tensor conditional = network(in).prediction_BCHW;
  DenoiseInput null = in;
  null.condition.text_BLD = torch::zeros_like(in.condition.text_BLD);
  const torch::Tensor expected =
      network(null).prediction_BCHW + 4 * (conditional - network(null).prediction_BCHW);
  const Condition nothing{torch::zeros_like(in.condition.text_BLD)};
  EXPECT_TRUE(torch::allclose(guided(network, nothing, 4)(in).prediction_BCHW, expected, 1e-5, 1e-6));
  EXPECT_TRUE(torch::equal(guided(network, nothing, 1)(in).prediction_BCHW, conditional));
}

TEST(Guidance, TheNullIsAValueOfTheSameKind) {
  Condition given;
  const DenoiseFn network = [&](const DenoiseInput& in) {
    given = in.condition;
    return DenoiseOutput{torch::zeros_like(in.x_BCHW), {}};
  };
  SamplerConfig config;
  config.steps = 2;
  const torch::Tensor mask = torch::tensor({true, true, false}).unsqueeze(0);
  SampleInput input{.unit_BCHW = unit_normals(7, {1, 1, 2, 2}),
                    .condition = {torch::ones({1, 3, 2}), mask, {}},
                    .null = {torch::full({1, 3, 2}, 0.5), torch::zeros_like(mask), {}}};
  sample(Objective({}), network, config, input);
  EXPECT_TRUE(torch::equal(given.text_BLD, torch::cat({input.condition.text_BLD, input.null.text_BLD})));
  EXPECT_TRUE(torch::equal(given.text_mask_BL, torch::cat({mask, torch::zeros_like(mask)})));
  EXPECT_FALSE(given.class_B.defined());
  input.condition = {.class_B = torch::tensor({3}, torch::kInt64)};
  input.null = {.class_B = torch::tensor({10}, torch::kInt64)};
  sample(Objective({}), network, config, input);
  EXPECT_TRUE(torch::equal(given.class_B, torch::tensor({3, 10}, torch::kInt64)));
  EXPECT_FALSE(given.text_BLD.defined());
  input.null = {};
  EXPECT_THROW(sample(Objective({}), network, config, input), std::logic_error);
}

TEST(Guidance, TheSamplerAppliesItOnce) {
  // F = 3 text + .5: with guidance s the slope must be that of .5 + 3 s text, whatever wraps what.
  std::int64_t rows = 0;
  const DenoiseFn network = [&](const DenoiseInput& in) {
    rows += in.x_BCHW.size(0);
    return DenoiseOutput{
        torch::zeros_like(in.x_BCHW) + 3 * in.condition.text_BLD.sum({1, 2}).view({-1, 1, 1, 1}) + 0.5, {}};
  };
  SamplerConfig guided_steps, plain;
  guided_steps.steps = plain.steps = 3;
  guided_steps.guidance = 5;
  plain.guidance = 1;
  const torch::Tensor x = unit_normals(7, {1, 1, 2, 2}), text = torch::full({1, 1, 1}, 0.25);
  const auto with = [&](const torch::Tensor& rows) {
    return SampleInput{.unit_BCHW = x, .condition = {rows}, .null = {torch::zeros_like(rows)}};
  };
  const torch::Tensor once = sample(Objective({}), network, guided_steps, with(text));
  EXPECT_EQ(rows, 2 * 5);
  EXPECT_TRUE(torch::allclose(once, sample(Objective({}), network, plain, with(5 * text)), 1e-5, 1e-6));
}

TEST(Sampler, EndsWhenItIsTold) {
  int evaluations = 0;
  const DenoiseFn network = [&](const DenoiseInput& in) {
    ++evaluations;
    return DenoiseOutput{torch::zeros_like(in.x_BCHW), {}};
  };
  SamplerConfig config;
  config.guidance = 1;
  const torch::Tensor x = unit_normals(8, {1, 1, 2, 2});
  EXPECT_FALSE(
      sample(Objective({}), network, config, {.unit_BCHW = x, .keep_going = [&] { return evaluations < 4; }})
          .defined());
  EXPECT_EQ(evaluations, 4);
}

}  // namespace
}  // namespace microdit::diffusion

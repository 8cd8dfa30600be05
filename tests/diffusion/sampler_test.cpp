// The sampler against an independent algorithm 2, and on a Gaussian whose exact denoiser is known.
#include "diffusion/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "core/error.h"
#include "core/seed.h"
#include "diffusion/grid.h"

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

torch::Tensor unit_normals(std::uint64_t stream, at::IntArrayRef shape = {64, 4, 8, 8}) {
  torch::Tensor t = torch::empty(shape);
  core::CounterRng(11, core::Purpose::sampler, stream)
      .fill_normal({t.mutable_data_ptr<float>(), static_cast<std::size_t>(t.numel())});
  return t;
}

SampleInput start_of(const torch::Tensor& x) {
  return {.unit_BCHW = x};
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
    config.s_min = 0.05;
    config.s_max = 50;
    config.s_noise = 1.007;
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

/// Predicts 0.3 x + text and keeps what it is told.
struct Recorder {
  std::vector<double> labels;
  std::vector<std::int64_t> rows;
  DenoiseFn network() {
    return [this](const DenoiseInput& in) {
      labels.push_back(in.noise_label_B[0].item<double>());
      rows.push_back(in.x_BCHW.size(0));
      torch::Tensor out = 0.3 * in.x_BCHW;
      if (in.condition.text_BLD.defined()) out = out + in.condition.text_BLD.mean({1, 2}).view({-1, 1, 1, 1});
      return DenoiseOutput{out, {}};
    };
  }
};

TEST(Options, GridsOfTheSamePath) {
  const Objective objective({.path = "linear", .prediction = "eps"});
  const std::map<std::string, std::vector<double>> expected = {
      {"leading", {750, 500, 250, 0}}, {"trailing", {999, 749, 499, 249}},
      {"linspace", {999, 666, 333, 0}}, {"uniform", {999, 666, 333, 0}}};
  for (const auto& [grid, times] : expected) {
    Recorder net;
    SamplerConfig config{.rule = "ddim", .steps = 4, .guidance = 1, .grid = grid};
    sample(objective, net.network(), config, start_of(unit_normals(1, {1, 1, 2, 2})));
    EXPECT_EQ(net.labels, times) << grid;
  }
}

TEST(Options, TheGridBeginsAtTheLastUsableTime) {
  Recorder net;
  const Objective objective({.path = "vp_cosine", .prediction = "eps"});
  SamplerConfig config{.steps = 3, .guidance = 1, .max_time = 980};
  const torch::Tensor x = unit_normals(1, {1, 1, 2, 2});
  sample(objective, net.network(), config, start_of(x));
  EXPECT_EQ(net.labels, (std::vector<double>{980, 490, 0}));
  config.max_time = 1001;
  EXPECT_THROW(sample(objective, net.network(), config, start_of(x)), core::UserError);
}

TEST(Options, EstimatesAreCut) {
  const Objective objective({.path = "vp_cosine", .prediction = "eps"});
  SamplerConfig config{.steps = 5, .guidance = 1};
  const torch::Tensor x = unit_normals(1, {2, 2, 2, 2});
  Recorder net;
  EXPECT_GT(sample(objective, net.network(), config, start_of(x)).abs().max().item<double>(), 100);
  config.clip_x0 = 1.5;
  EXPECT_LE(sample(objective, net.network(), config, start_of(x)).abs().max().item<double>(), 1.5);
}

TEST(Options, GuidanceActsInItsIntervalAlone) {
  const Objective objective({});
  Recorder net;
  SamplerConfig config{.rule = "first", .steps = 5, .guidance = 3};  // sigma 80, 17.5, 2.5, .17, .002
  const torch::Tensor rows = torch::ones({1, 1, 1});
  const SampleInput input{.unit_BCHW = unit_normals(1, {1, 1, 2, 2}), .condition = {rows}, .null = {0 * rows}};
  const torch::Tensor everywhere = sample(objective, net.network(), config, input);
  config.guidance_min = 0.1;
  config.guidance_max = 20;
  net.rows.clear();
  const torch::Tensor inside = sample(objective, net.network(), config, input);
  EXPECT_EQ(net.rows, (std::vector<std::int64_t>{1, 2, 2, 2, 1}));
  EXPECT_FALSE(torch::allclose(inside, everywhere));
}

TEST(Guidance, RescaleBringsTheDeviationBack) {
  const torch::Tensor x = unit_normals(3, {2, 2, 4, 4});
  const DenoiseFn network = [](const DenoiseInput& in) {
    return DenoiseOutput{in.x_BCHW * in.condition.text_BLD.view({-1, 1, 1, 1}), {}};
  };
  const DenoiseInput in{x, torch::zeros({2}), {torch::tensor({2.0F, 3.0F}).view({2, 1, 1})}};
  const Condition null{torch::ones({2, 1, 1})};
  // cond - null is x or 2 x; guided at 5: 6 x and 11 x.
  const auto factors = [&](double rescale) {
    return (guided(network, null, 5, rescale)(in).prediction_BCHW / x).mean({1, 2, 3});
  };
  EXPECT_TRUE(torch::allclose(factors(0), torch::tensor({6.0F, 11.0F}), 1e-4));
  EXPECT_TRUE(torch::allclose(factors(1), torch::tensor({2.0F, 3.0F}), 1e-4));
  EXPECT_TRUE(torch::allclose(factors(0.5), torch::tensor({4.0F, 7.0F}), 1e-4));
}

TEST(Sampler, ShowsEveryStepButTheLast) {
  const Objective objective({.path = "flow", .prediction = "velocity"});
  for (const char* rule : {"euler", "heun", "dpmpp_2m"}) {
    Recorder net;
    std::vector<std::int64_t> steps;
    SampleInput input = start_of(unit_normals(1, {1, 1, 2, 2}));
    input.each_step = [&](std::int64_t step, const torch::Tensor& x) {
      steps.push_back(step);
      EXPECT_EQ(x.scalar_type(), torch::kDouble);
    };
    sample(objective, net.network(), {.rule = rule, .steps = 4, .guidance = 1}, input);
    EXPECT_EQ(steps, (std::vector<std::int64_t>{0, 1, 2})) << rule;
  }
}

TEST(Sampler, WhatDoesNotGoWithThePathIsRefusedByName) {
  const auto refused = [](const ObjectiveConfig& objective, const SamplerConfig& config) -> std::string {
    try {
      settled(config, settled(objective));
    } catch (const core::UserError& error) {
      return error.what();
    }
    return "";
  };
  const ObjectiveConfig edm, flow{.path = "flow", .prediction = "velocity"}, vp{.path = "vp_cosine", .prediction = "v"};
  EXPECT_EQ(refused(flow, {.rule = "ddim"}),
            "sampler.rule: rule \"ddim\" does not go with path \"flow\"; there is: euler, heun, dpmpp_2m, first, ancestral");
  EXPECT_EQ(refused(edm, {.grid = "leading"}),
            "sampler.grid: grid \"leading\" does not go with path \"edm\"; there is: karras");
  EXPECT_NE(refused(vp, {.rule = "heun", .eta = 1}), "");
  EXPECT_NE(refused(vp, {.s_churn = 1}), "");
  EXPECT_NE(refused(vp, {.sigma_max = 50}), "");
  EXPECT_NE(refused(vp, {.rho = 5}), "");
  EXPECT_NE(refused(edm, {.max_time = 5}), "");
  EXPECT_NE(refused(edm, {.guidance = 1, .guidance_rescale = 0.5}), "");
  EXPECT_NE(refused({.path = "flow", .prediction = "eps"}, {}), "");
  EXPECT_EQ(refused(edm, {.rule = "heun", .s_churn = 40}), "");
  EXPECT_EQ(refused(vp, {.rule = "ddim", .eta = 1}), "");
  EXPECT_EQ(refused(vp, {.rho = 5, .grid = "karras"}), "");
}

TEST(Sampler, NoMoreStepsThanTheGridHasTimes) {
  const Objective objective({.path = "linear", .prediction = "eps", .num_timesteps = 10});
  Recorder net;
  for (const char* grid : {"leading", "trailing", "linspace"}) {
    SamplerConfig config{.rule = "ddim", .steps = 10, .guidance = 1, .grid = grid};
    const SampleInput input = start_of(unit_normals(1, {1, 1, 2, 2}));
    EXPECT_TRUE(sample(objective, net.network(), config, input).defined());
    config.steps = 11;
    EXPECT_THROW(sample(objective, net.network(), config, input), core::UserError) << grid;
  }
}

}  // namespace
}  // namespace microdit::diffusion

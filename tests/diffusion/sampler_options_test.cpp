// Options of the sampler, and what it refuses.
#include <gtest/gtest.h>

#include <map>
#include <tuple>

#include "core/error.h"
#include "diffusion/grid.h"
#include "unit_normals.h"

namespace microdit::diffusion {
namespace {

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
  const std::map<std::string, std::vector<double>> expected = {{"leading", {750, 500, 250, 0}},
                                                               {"trailing", {999, 749, 499, 249}},
                                                               {"linspace", {999, 666, 333, 0}},
                                                               {"uniform", {999, 666, 333, 0}}};
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
  const SampleInput input{
      .unit_BCHW = unit_normals(1, {1, 1, 2, 2}), .condition = {rows}, .null = {0 * rows}};
  const torch::Tensor everywhere = sample(objective, net.network(), config, input);
  config.guidance_min = 0.1;
  config.guidance_max = 20;
  net.rows.clear();
  const torch::Tensor inside = sample(objective, net.network(), config, input);
  EXPECT_EQ(net.rows, (std::vector<std::int64_t>{1, 2, 2, 2, 1}));
  EXPECT_FALSE(torch::allclose(inside, everywhere));
}

TEST(Options, GuidanceWithoutBoundsActsAtBothEndsOfAPath) {
  const torch::Tensor x = unit_normals(1, {1, 1, 2, 2}), rows = torch::ones({1, 1, 1});
  const SampleInput input{.unit_BCHW = x, .condition = {rows}, .null = {0 * rows}};
  {  // velocity: null 0.3 x, with the condition 1 more; x - (0.3 x + 5) in the one step from t = 1, where alpha is 0
    Recorder net;
    const Objective flow({.path = "flow", .prediction = "velocity"});
    const torch::Tensor end = sample(flow, net.network(), {.steps = 1, .guidance = 5}, input);
    EXPECT_TRUE(torch::allclose(end.to(torch::kFloat), 0.7 * x - 5, 1e-5, 1e-5)) << end;
    EXPECT_EQ(net.rows, (std::vector<std::int64_t>{2}));
  }
  Recorder net;
  const Objective vp({.path = "vp_cosine", .prediction = "v"});
  sample(vp, net.network(), {.rule = "ddim", .steps = 4, .guidance = 5, .grid = "linspace"}, input);
  EXPECT_EQ(net.rows, (std::vector<std::int64_t>{2, 2, 2, 2}));
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

/// What a command line says, over what a run says.
SamplerConfig over(const std::vector<std::string>& words, const SamplerConfig& own) {
  return core::load<SamplerConfig>(core::ConfigTree::of_overrides(words)).over(own);
}

TEST(SamplerConfig, WhatIsNotGivenIsTheRunsButForTheSteps) {
  const SamplerConfig own{.rule = "ddim",
                          .steps = 50,
                          .guidance = 2,
                          .grid = "trailing",
                          .eta = 0.5,
                          .clip_x0 = 1,
                          .max_time = 980,
                          .guidance_rescale = 0.7};
  SamplerConfig found = over({}, own);
  EXPECT_EQ(found.steps, SamplerConfig().steps);
  found.steps = own.steps;
  EXPECT_EQ(core::to_json(found), core::to_json(own));
  // A rule brings its own grid and noise, a grid its rho, guidance its interval and rescaling.
  found = over({"rule=heun"}, own);
  EXPECT_EQ(std::tuple(found.rule, found.grid, found.eta, found.clip_x0, found.guidance_rescale),
            std::tuple("heun", "auto", 0.0, 1.0, 0.7));
  found = over({"guidance=1"}, own);
  EXPECT_EQ(std::tuple(found.guidance, found.guidance_rescale, found.grid), std::tuple(1.0, 0.0, "trailing"));
  found = over({"grid=karras"}, {.rule = "heun", .rho = 5, .s_churn = 3});
  EXPECT_EQ(std::tuple(found.rule, found.grid, found.rho, found.s_churn),
            std::tuple("heun", "karras", 7.0, 3.0));
  // What is given at its default is given.
  found = over({"clip_x0=0", "eta=0", "grid=auto", "max_time=0"}, own);
  EXPECT_EQ(std::tuple(found.clip_x0, found.eta, found.grid, found.max_time),
            std::tuple(0.0, 0.0, "auto", 0.0));
  EXPECT_EQ(over({"sigma_min=0.01"}, {.sigma_max = 40}).sigma_max, 40);
  EXPECT_THROW(over({"sigma_min=50"}, {.sigma_max = 40}), core::UserError);
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
  const ObjectiveConfig edm, flow{.path = "flow", .prediction = "velocity"},
      vp{.path = "vp_cosine", .prediction = "v"};
  EXPECT_EQ(refused(flow, {.rule = "ddim"}),
            "sampler.rule: rule \"ddim\" does not go with path \"flow\"; there is: euler, heun, dpmpp_2m, "
            "first, ancestral");
  EXPECT_EQ(refused(edm, {.grid = "leading"}),
            "sampler.grid: grid \"leading\" does not go with path \"edm\"; there is: karras");
  EXPECT_NE(refused(vp, {.rule = "heun", .eta = 1}), "");
  EXPECT_NE(refused(vp, {.s_churn = 1}), "");
  EXPECT_NE(refused(vp, {.sigma_max = 50}), "");
  EXPECT_NE(refused(vp, {.rho = 5}), "");
  EXPECT_NE(refused(edm, {.max_time = 5}), "");
  EXPECT_NE(refused(edm, {.guidance = 1, .guidance_rescale = 0.5}), "");
  for (const SamplerConfig& idle :
       {SamplerConfig{.s_min = 1}, SamplerConfig{.s_max = 5}, SamplerConfig{.s_noise = 1.1}})
    EXPECT_NE(refused(edm, idle), "") << "without s_churn";
  EXPECT_EQ(refused(edm, {.s_churn = 1, .s_min = 1, .s_max = 5, .s_noise = 1.1}), "");
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

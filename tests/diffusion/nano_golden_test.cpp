// nano-diffusion's gamma schedules and its DDIM grid, by its own numbers.
#include <gtest/gtest.h>

#include <algorithm>

#include "diffusion/grid.h"
#include "diffusion/objective.h"
#include "goldens.h"

namespace microdit::diffusion {
namespace {

TEST(Nano, Gammas) {
  const auto goldens = read_golden_tensors("nano_schedules.safetensors");
  int seen = 0;
  const core::Json facts = read_golden_facts("nano_schedules.json");
  for (const core::Json& g : facts["gammas"]) {
    ObjectiveConfig config{.path = g["path"], .prediction = "eps"};
    config.gamma_start = g.value("start", config.gamma_start);
    config.gamma_end = g.value("end", config.gamma_end);
    config.gamma_tau = g.value("tau", config.gamma_tau);
    config.gamma_clip = g.value("clip_min", config.gamma_clip);
    const torch::Tensor theirs = goldens.at(g["tensor"]).to(torch::kDouble);
    const Objective objective(config);
    const torch::Tensor times = torch::linspace(0, 1000, theirs.size(0), torch::kDouble);
    const Levels levels = objective.path().at(times);
    EXPECT_TRUE(torch::allclose(levels.alpha_B.square(), theirs, 1e-5, 1e-6)) << g;
    EXPECT_TRUE(torch::allclose(levels.sigma_B.square(), 1 - theirs, 1e-5, 1e-6)) << g;
    ++seen;
  }
  EXPECT_EQ(seen, 11);
}

TEST(Nano, GammasOfTheRecord) {
  const std::map<std::string, std::vector<double>> vectors = {
      {"vp_linear", {1, .9, .75, .5, .25, .1, 1e-9}},
      {"vp_cosine", {1, .819288774, .523606798, .145898034, .011145618, .000301605791, 1e-9}},
      {"vp_sigmoid", {1, .783043834, .496593595, .187950924, .0515081111, .0146255299, 1e-9}}};
  for (const auto& [path, expected] : vectors) {
    const Objective objective({.path = path, .prediction = "eps"});
    const torch::Tensor times = torch::tensor({0., 100., 250., 500., 750., 900., 1000.}, torch::kDouble);
    EXPECT_TRUE(torch::allclose(objective.path().at(times).alpha_B.square(),
                                torch::tensor(expected, torch::kDouble), 1e-8, 0))
        << path;
  }
}

TEST(Nano, GridIsExact) {
  int seen = 0;
  const core::Json facts = read_golden_facts("nano_schedules.json");
  for (const core::Json& g : facts["grids"]) {
    const std::vector<double> times = g["times"];
    if (std::adjacent_find(times.begin(), times.end()) != times.end() || times.size() < 2) continue;
    const Objective objective(
        {.path = "vp_cosine", .prediction = "eps", .num_timesteps = g["num_timesteps"]});
    SamplerConfig config{.rule = "ddim", .steps = g["steps"]};
    const auto grid = make_grid(config, objective.config(), objective.path(), 4);
    ASSERT_EQ(grid.size(), times.size() + 1);
    for (std::size_t i = 0; i < times.size(); ++i) EXPECT_EQ(grid[i].time, times[i]) << g;
    ++seen;
  }
  EXPECT_GE(seen, 15);
}

}  // namespace
}  // namespace microdit::diffusion

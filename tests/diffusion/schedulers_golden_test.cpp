// Every step of diffusers' schedulers (0.42.1) around one network: the chains of goldens/schedulers.json that our rules name.
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "diffusion/grid.h"
#include "diffusion/sampler.h"
#include "goldens.h"

namespace microdit::diffusion {
namespace {

using core::Json;

struct Chain {
  ObjectiveConfig objective;
  SamplerConfig sampler;
  bool in_ratio = false;  ///< their state is x / alpha
};

/// Settings of theirs that we do not have; a chain with one of them is none of ours.
bool is_foreign(const Json& c) {
  const Json &keys = c["keys"], &step = c["step"];
  const std::string kind = c["kind"], spacing = keys.value("timestep_spacing", "");
  for (const char* key : {"variance_type", "steps_offset", "set_alpha_to_one", "rescale_betas_zero_snr",
                          "final_sigmas_type", "solver_order", "solver_type", "lambda_min_clipped",
                          "stochastic_sampling", "shift_terminal", "time_shift_type"})
    if (keys.contains(key)) return true;
  // Their DDIM steps by a fixed stride, whatever stands next in the grid, and by default cuts x0 but not the noise.
  if (kind == "DDIMScheduler") {
    if (spacing == "linspace" || (spacing == "trailing" && 1000 % c["steps"].get<int>() != 0)) return true;
    if (keys.value("clip_sample", false) && !step.value("use_clipped_model_output", false)) return true;
  }
  return kind == "EulerDiscreteScheduler" &&
         c["steps"] == 1;  // one step alone: theirs begins where the noise ends
}

std::optional<Chain> chain_of(const Json& c) {
  if (is_foreign(c)) return std::nullopt;
  const Json& keys = c["keys"];
  const std::string kind = c["kind"], spacing = keys.value("timestep_spacing", "");
  Chain chain;
  ObjectiveConfig& o = chain.objective;
  SamplerConfig& s = chain.sampler;
  const std::map<std::string, std::string> predictions = {
      {"epsilon", "eps"}, {"sample", "x0"}, {"v_prediction", "v"}, {"flow_prediction", "velocity"}};
  o.path = keys.value("beta_schedule", "flow");
  o.prediction = predictions.at(keys.value("prediction_type", "flow_prediction"));
  o.num_timesteps = keys.value("num_train_timesteps", 1000);
  o.beta_start = keys.value("beta_start", o.beta_start);
  o.beta_end = keys.value("beta_end", o.beta_end);
  o.shift = keys.value("shift", keys.value("flow_shift", 1.0));
  s.guidance = 1;
  s.steps = c["steps"];
  s.eta = c["step"].value("eta", 0.0);
  if (keys.value("clip_sample", false)) s.clip_x0 = keys.value("clip_sample_range", 1.0);
  const std::map<std::string, std::string> rules = {{"DDPMScheduler", "ddpm"},
                                                    {"DDIMScheduler", "ddim"},
                                                    {"DPMSolverMultistepScheduler", "dpmpp_2m"},
                                                    {"EulerDiscreteScheduler", "euler"},
                                                    {"HeunDiscreteScheduler", "heun"},
                                                    {"FlowMatchEulerDiscreteScheduler", "euler"},
                                                    {"FlowMatchHeunDiscreteScheduler", "heun"}};
  s.rule = rules.at(kind);
  chain.in_ratio = kind == "EulerDiscreteScheduler" || kind == "HeunDiscreteScheduler";
  if (!spacing.empty()) s.grid = spacing == "linspace" && chain.in_ratio ? "uniform" : spacing;
  if (keys.value("use_karras_sigmas", false)) s.grid = "karras";
  if (c["set"].contains("sigmas")) s.grid = "trailing";  // 1, 1 - 1/S ... 1/S, as pipelines give them
  if (c["set"].contains("mu")) o.shift = std::exp(c["set"]["mu"].get<double>());
  return chain;
}

/// skip x + W2 tanh(W1 x + b1 + u t / 1000) + b2 over the channels of each pixel.
DenoiseFn network(const std::map<std::string, torch::Tensor>& g, double skip) {
  return [&g, skip](const DenoiseInput& in) {
    const auto mix = [](const torch::Tensor& w, const torch::Tensor& x) {
      return at::einsum("oc,bchw->bohw", {w, x});
    };
    const torch::Tensor t = in.noise_label_B[0] / 1000;
    const torch::Tensor hidden =
        mix(g.at("net.w1"), in.x_BCHW) + (g.at("net.b1") + g.at("net.u") * t).view({1, -1, 1, 1});
    return DenoiseOutput{
        skip * in.x_BCHW + mix(g.at("net.w2"), hidden.tanh()) + g.at("net.b2").view({1, -1, 1, 1}), {}};
  };
}

TEST(Schedulers, EveryStepIsDiffusers) {
  const auto goldens = read_golden_tensors("schedulers.safetensors");
  std::map<std::string, int> seen;
  const core::Json facts = read_golden_facts("schedulers.json");
  for (const core::Json& c : facts["cases"]) {
    const std::optional<Chain> chain = chain_of(c);
    if (!chain) continue;
    const std::string number = std::to_string(c["case"].get<int>());
    SCOPED_TRACE(number + " " + c["kind"].get<std::string>() + " " + c["keys"].dump());
    const Objective objective(chain->objective);
    const std::vector<Moment> grid =
        make_grid(settled(chain->sampler, objective.config()), objective.config(), objective.path(),
                  goldens.at("unit").size(3));
    const torch::Tensor theirs = goldens.at(number + ".x").to(torch::kDouble);
    const bool heun = chain->sampler.rule == "heun";
    const auto check = [&](std::int64_t step, const torch::Tensor& x) {
      const bool last = step + 1 == chain->sampler.steps;
      const std::int64_t place = heun ? 2 * step + (last ? 1 : 2) : step + 1;
      const double alpha = chain->in_ratio ? grid[static_cast<std::size_t>(step + 1)].level.alpha : 1;
      const torch::Tensor other = theirs[place] * alpha;
      EXPECT_LT(((x.to(torch::kDouble) - other).norm() / other.norm()).item<double>(), 1e-5)
          << "step " << step;
    };
    std::map<std::int64_t, torch::Tensor> states;
    const torch::Tensor out =
        sample(objective, network(goldens, c["skip"]), chain->sampler,
               {.unit_BCHW = goldens.at("unit"),
                .step_noise = [&](std::int64_t step) { return goldens.at("noise")[step]; },
                .each_step = [&](std::int64_t step, const torch::Tensor& x) { states[step] = x; }});
    ASSERT_EQ(std::ssize(states), chain->sampler.steps - 1);
    for (const auto& [step, x] : states) check(step, x);
    check(chain->sampler.steps - 1, out);
    ++seen[c["kind"]];
  }
  const std::map<std::string, int> expected = {{"DDPMScheduler", 21},
                                               {"DDIMScheduler", 18},
                                               {"DPMSolverMultistepScheduler", 21},
                                               {"EulerDiscreteScheduler", 16},
                                               {"HeunDiscreteScheduler", 4},
                                               {"FlowMatchEulerDiscreteScheduler", 8},
                                               {"FlowMatchHeunDiscreteScheduler", 3}};
  EXPECT_EQ(seen, expected);
}

}  // namespace
}  // namespace microdit::diffusion

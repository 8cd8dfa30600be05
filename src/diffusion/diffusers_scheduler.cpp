// Objective and sampler -> class and config of a scheduler.
#include "diffusion/diffusers_scheduler.h"

#include "core/error.h"
#include "diffusion/path.h"

namespace microdit::diffusion {
namespace {

using core::Json;

[[noreturn]] void no_such(const std::string& what, const std::string& instead) {
  core::user_error("diffusers has no scheduler for {}; there is one for: {}", what, instead);
}

bool is_one_of(const std::string& name, std::initializer_list<const char*> names) {
  for (const char* one : names)
    if (name == one) return true;
  return false;
}

/// Keys of ours that none of their schedulers has.
void refuse_own_keys(const SamplerConfig& c, bool cuts_x0) {
  if (c.max_time > 0) no_such(fmt::format("max_time={}", c.max_time), "max_time=0");
  if (c.s_churn > 0) no_such(fmt::format("s_churn={}", c.s_churn), "s_churn=0");
  if (c.clip_x0 > 0 && !cuts_x0)
    no_such(fmt::format("clip_x0={} with rule {}", c.clip_x0, c.rule),
            "the rules ddim and ddpm, or clip_x0=0");
}

Json betas_of(const ObjectiveConfig& o) {
  const std::string theirs = o.prediction == "eps" ? "epsilon"
                             : o.prediction == "v" ? "v_prediction"
                                                   : "sample";
  return {{"beta_end", o.beta_end},
          {"beta_schedule", o.path},
          {"beta_start", o.beta_start},
          {"num_train_timesteps", o.num_timesteps},
          {"prediction_type", theirs}};
}

void add_cut(Json& config, const SamplerConfig& c) {
  config["clip_sample"] = c.clip_x0 > 0;
  if (c.clip_x0 > 0) config["clip_sample_range"] = c.clip_x0;
}

DiffusersScheduler ddim(const ObjectiveConfig& o, const SamplerConfig& c, const std::string& grid) {
  // Theirs goes by a fixed stride, whatever stands next in the grid.
  if (grid == "trailing" && o.num_timesteps % c.steps != 0)
    no_such(fmt::format("rule {} on grid trailing with steps={}", c.rule, c.steps),
            fmt::format("steps that divide {}, or grid=leading", o.num_timesteps));
  if (!is_one_of(grid, {"leading", "trailing"}))
    no_such(fmt::format("rule {} on grid {}", c.rule, grid), "grid=leading, grid=trailing");
  DiffusersScheduler found{"DDIMScheduler", betas_of(o), Json::object()};
  found.config["set_alpha_to_one"] = true;
  found.config["steps_offset"] = 0;
  found.config["timestep_spacing"] = grid;
  add_cut(found.config, c);
  if (c.eta > 0) found.step["eta"] = c.eta;
  if (c.clip_x0 > 0) found.step["use_clipped_model_output"] = true;
  return found;
}

DiffusersScheduler ddpm(const ObjectiveConfig& o, const SamplerConfig& c, const std::string& grid) {
  if (!is_one_of(grid, {"leading", "linspace", "trailing"}))
    no_such(fmt::format("rule {} on grid {}", c.rule, grid), "grid=leading, grid=linspace, grid=trailing");
  DiffusersScheduler found{"DDPMScheduler", betas_of(o), Json::object()};
  found.config["steps_offset"] = 0;
  found.config["timestep_spacing"] = grid;
  found.config["variance_type"] = "fixed_small";
  add_cut(found.config, c);
  return found;
}

/// Euler, Heun and DPM-Solver++, which think in sigma / alpha.
DiffusersScheduler in_sigma(const ObjectiveConfig& o, const SamplerConfig& c, const std::string& grid) {
  const bool solver = c.rule == "dpmpp_2m";
  if (c.eta > 0) no_such(fmt::format("rule {} with eta={}", c.rule, c.eta), "rule=ddim, or eta=0");
  if (c.rule == "euler" && c.steps == 1) no_such("rule euler with steps=1", "steps above 1, or rule=ddim");
  if (o.path == "squaredcos_cap_v2" && (solver ? grid == "karras" : grid != "leading"))
    no_such(fmt::format("path {} with rule {} on grid {}", o.path, c.rule, grid),
            solver ? "grid=linspace, grid=leading, grid=trailing" : "grid=leading");
  if (solver ? grid == "uniform" : grid == "linspace")
    no_such(
        fmt::format("rule {} on grid {}", c.rule, grid),
        fmt::format("grid={}, grid=leading, grid=trailing, grid=karras", solver ? "linspace" : "uniform"));
  DiffusersScheduler found{solver             ? "DPMSolverMultistepScheduler"
                           : c.rule == "heun" ? "HeunDiscreteScheduler"
                                              : "EulerDiscreteScheduler",
                           betas_of(o), Json::object()};
  found.config["steps_offset"] = 0;
  found.config["timestep_spacing"] = is_one_of(grid, {"karras", "uniform"}) ? "linspace" : grid;
  found.config["use_karras_sigmas"] = grid == "karras";
  if (grid == "karras" && c.rho != SamplerConfig().rho) no_such(fmt::format("rho={}", c.rho), "rho=7");
  return found;
}

DiffusersScheduler of_flow(const ObjectiveConfig& o, const SamplerConfig& c, const std::string& grid,
                           std::int64_t side) {
  if (o.prediction != "velocity")
    no_such(fmt::format("prediction {} on path flow", o.prediction), "prediction velocity");
  if (grid != "shifted") no_such(fmt::format("path flow on grid {}", grid), "grid=shifted");
  if (c.eta > 0 || c.rule == "ancestral")
    no_such("path flow with noise on the way", "rule=euler, heun, dpmpp_2m");
  const double shift = Path(o).shift(side);
  if (c.rule == "dpmpp_2m")
    return {"DPMSolverMultistepScheduler",
            {{"flow_shift", shift},
             {"num_train_timesteps", o.num_timesteps},
             {"prediction_type", "flow_prediction"},
             {"use_flow_sigmas", true}},
            Json::object()};
  return {c.rule == "heun" ? "FlowMatchHeunDiscreteScheduler" : "FlowMatchEulerDiscreteScheduler",
          {{"num_train_timesteps", o.num_timesteps}, {"shift", shift}},
          Json::object()};
}

DiffusersScheduler of_edm(const ObjectiveConfig& o, const SamplerConfig& c) {
  if (o.prediction != "edm")
    no_such(fmt::format("prediction {} on path edm", o.prediction), "prediction edm");
  if (c.eta > 0 || !is_one_of(c.rule, {"first", "euler", "dpmpp_2m"}))
    no_such(fmt::format("path edm with rule {}{}", c.rule, c.eta > 0 ? " and eta" : ""),
            "rule=euler, rule=dpmpp_2m");
  return {c.rule == "dpmpp_2m" ? "EDMDPMSolverMultistepScheduler" : "EDMEulerScheduler",
          {{"prediction_type", "epsilon"},
           {"rho", c.rho},
           {"sigma_data", o.sigma_data},
           {"sigma_max", c.sigma_max},
           {"sigma_min", c.sigma_min}},
          Json::object()};
}

DiffusersScheduler of_betas(const ObjectiveConfig& o, const SamplerConfig& c, const std::string& grid) {
  const bool all_noise = is_one_of(c.rule, {"ddpm", "ancestral"});
  if (all_noise) return ddpm(o, c, grid);
  return is_one_of(c.rule, {"ddim", "first"}) ? ddim(o, c, grid) : in_sigma(o, c, grid);
}

}  // namespace

DiffusersScheduler diffusers_scheduler(const ObjectiveConfig& objective, const SamplerConfig& sampler,
                                       std::int64_t side) {
  const Family& family = objective.family();
  const std::string grid = step_rule(sampler, objective).grid;
  if (family.is(Family::Kind::vp))
    no_such(
        fmt::format("path {}", objective.path),
        "the paths linear, scaled_linear, squaredcos_cap_v2, flow and edm (theirs multiplies betas in fp32, "
        "in which the end of this path is lost)");
  const bool cuts =
      family.is(Family::Kind::betas) && is_one_of(sampler.rule, {"ddim", "first", "ddpm", "ancestral"});
  refuse_own_keys(sampler, cuts);
  DiffusersScheduler found = family.is(Family::Kind::edm)    ? of_edm(objective, sampler)
                             : family.is(Family::Kind::flow) ? of_flow(objective, sampler, grid, side)
                                                             : of_betas(objective, sampler, grid);
  found.config["_class_name"] = found.class_name;
  return found;
}

}  // namespace microdit::diffusion

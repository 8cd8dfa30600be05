// One sampler loop over a noise grid; the state is float64.
#pragma once

#include <torch/types.h>

#include <functional>
#include <string>
#include <vector>

#include "core/config.h"
#include "diffusion/objective.h"

namespace microdit::diffusion {

/// EDM's algorithm 2 (Karras et al. 2022); names and defaults are the original's.
struct SamplerConfig {
  std::string rule = "heun";  ///< heun | first
  std::int64_t steps = 30;
  double guidance = 5.0;
  double sigma_min = 0.002;
  double sigma_max = 80;
  double rho = 7;
  double s_churn = 0;
  double s_min = 0;
  double s_max = 1e9;  ///< "infinity"
  double s_noise = 1;
  void fields(core::Fields& f);
};

/// sigma_0 ... sigma_{N-1}, 0 (float64): (smax^(1/rho) + i/(N-1) (smin^(1/rho) - smax^(1/rho)))^rho.
std::vector<double> karras_grid(const SamplerConfig& config);

/// Fresh unit normals of x's shape for step i.
using StepNoise = std::function<torch::Tensor(std::int64_t step)>;

/// Asked before every evaluation of the network: false ends the sampling.
using KeepGoing = std::function<bool()>;

struct SampleInput {
  torch::Tensor unit_BCHW;  ///< standard normal start
  Condition condition{};
  Condition
      null{};  ///< what guidance leads away from: the model's null, or a negative prompt; not read with guidance 1
  StepNoise step_noise{};  ///< needed only by what adds noise on the way (s_churn > 0)
  KeepGoing keep_going{};
};

/// `denoise`: the bare network (guidance happens in here, nowhere else). Returns fp32 [B,C,H,W], or an undefined tensor
/// when `keep_going` said no.
torch::Tensor sample(const Objective& objective, const DenoiseFn& denoise, const SamplerConfig& config,
                     const SampleInput& input);

}  // namespace microdit::diffusion

// One sampler loop over a grid of moments; the state is float64.
#pragma once

#include <torch/types.h>

#include <functional>

#include "diffusion/objective.h"
#include "diffusion/sampler_config.h"

namespace microdit::diffusion {

/// Fresh unit normals of x's shape for step i.
using StepNoise = std::function<torch::Tensor(std::int64_t step)>;
/// Asked before every evaluation of the network: false ends the sampling.
using KeepGoing = std::function<bool()>;
/// Shown x (float64) after step i, of all steps but the last.
using EachStep = std::function<void(std::int64_t step, const torch::Tensor& x_BCHW)>;

struct SampleInput {
  torch::Tensor unit_BCHW;  ///< standard normal start
  Condition condition{};
  Condition
      null{};  ///< what guidance leads away from: the model's null or a negative prompt; not read with guidance 1
  StepNoise step_noise{};  ///< needed where noise is added on the way (adds_noise)
  KeepGoing keep_going{};
  EachStep each_step{};
};

/// Whether sample() asks for step_noise.
bool adds_noise(const SamplerConfig& config, const ObjectiveConfig& objective);

/// `denoise`: the bare network (guidance happens in here, nowhere else). Returns fp32 [B,C,H,W], or an undefined tensor
/// when `keep_going` said no. UserError: a sampler that does not go with the objective.
torch::Tensor sample(const Objective& objective, const DenoiseFn& denoise, const SamplerConfig& config,
                     const SampleInput& input);

}  // namespace microdit::diffusion

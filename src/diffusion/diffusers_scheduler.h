// Which of diffusers' schedulers samples as our sampler does.
#pragma once

#include <cstdint>
#include <string>

#include "core/json.h"
#include "diffusion/objective_config.h"
#include "diffusion/sampler_config.h"

namespace microdit::diffusion {

struct DiffusersScheduler {
  std::string class_name;
  core::Json config;  ///< scheduler_config.json of diffusers 0.42
  core::Json step;    ///< what step() is to be given beside: eta, use_clipped_model_output
};

/// The one whose steps are, to rounding, those of `sampler` (settled) on latents of `side` (tests/diffusion/schedulers_golden_test.cpp).
/// Guidance is no scheduler's. UserError: there is none, with the keys for which there is.
DiffusersScheduler diffusers_scheduler(const ObjectiveConfig& objective, const SamplerConfig& sampler,
                                       std::int64_t side);

}  // namespace microdit::diffusion

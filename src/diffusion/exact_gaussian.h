// Data of one Gaussian, whose best network is known: what a path, a prediction and a rule are tried on.
#pragma once

#include "diffusion/objective.h"
#include "diffusion/sampler_config.h"

namespace microdit::diffusion {

struct Gaussian {
  double mean = 0.7, std = 0.4;
};

/// The network that no training makes better: E[x0 | x_t] = mean + alpha std^2 (x_t - alpha mean) / (alpha^2 std^2 + sigma^2),
/// said as `objective`'s network says it. `objective` must outlive it.
DenoiseFn exact_network(const Objective& objective, Gaussian data = {});

/// Mean and deviation of 16 x 4 x 8 x 8 values drawn with it (noise by counter from 0): standard errors std * 0.016 and
/// std * 0.011; the rest of what is off is the grid's coarseness, or a fault of the path.
Gaussian sampled_gaussian(const Objective& objective, const SamplerConfig& config, Gaussian data = {});

}  // namespace microdit::diffusion

// MicroDiT's initial weights: the original's distributions, drawn by counter so that every rank gets the same.
#pragma once

#include "models/denoiser.h"

namespace microdit::models {

/// Draws every parameter from (seed, its name). The number of threads does not matter.
void initialize_microdit(torch::nn::Module& net, const DenoiserConfig& config, std::uint64_t seed);

}  // namespace microdit::models

// Random rows keyed by counters: the one place where training, evaluation and painting draw their noise.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>

#include "core/seed.h"
#include "diffusion/objective.h"

namespace microdit::diffusion {

/// What the numbers of one row are a function of, beside their purpose.
struct NoiseKey {
  std::uint64_t seed = 0;
  std::uint64_t a = 0;  ///< the sample's place, or the sampler's step
  std::uint64_t b = 0;
};

/// Standard normals, one row of `row_shape` per key: fp32 on the CPU, [keys, row_shape...].
torch::Tensor normal_rows(std::span<const NoiseKey> keys, core::Purpose purpose, at::IntArrayRef row_shape);

/// A batch's time (a normal or a uniform number, as the objective's law wants it), noise and (tokens > 0) mask noise, on the
/// CPU; `latent_CHW`: shape of one sample.
NoiseDraw draw_noise(std::span<const NoiseKey> keys, TimeDraw time, at::IntArrayRef latent_CHW,
                     std::int64_t tokens = 0);

}  // namespace microdit::diffusion

// The small net of the golden numbers.
#pragma once

#include "models/denoiser.h"

namespace microdit::models {

inline DenoiserConfig golden_config() {
  DenoiserConfig c;
  c.input_size = 8;
  c.in_channels = 4;
  c.dim = 64;
  c.depth = 4;
  c.head_dim = 16;
  c.multiple_of = 32;
  c.caption_channels = 24;
  c.patch_mixer_depth = 2;
  c.patch_mixer_dim = 32;
  c.num_experts = 4;
  return c;
}

}  // namespace microdit::models

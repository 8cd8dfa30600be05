// The moments that a sampler goes through, from noise to none.
#pragma once

#include <vector>

#include "diffusion/path.h"
#include "diffusion/sampler_config.h"

namespace microdit::diffusion {

/// Where the network is asked, noisiest first, and a last moment without noise (level {1, 0}) where it is not. `config` is
/// settled; `side`: of the latents. karras: sigma_i = (smax^(1/rho) + i/(N-1) (smin^(1/rho) - smax^(1/rho)))^rho.
/// UserError: more steps than the path has times.
std::vector<Moment> make_grid(const SamplerConfig& config, const ObjectiveConfig& objective, const Path& path,
                              std::int64_t side);

}  // namespace microdit::diffusion

// Diffusion of points in the plane: what sampling does, where it can be seen.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/stop_flag.h"
#include "diffusion/families.h"
#include "explain/chapter.h"

namespace microdit::explain {

struct ToyConfig {
  std::int64_t training_steps = 0;
  std::vector<std::int64_t> steps;  ///< of the sampler, a column each
  std::vector<double> guidance;
  std::uint64_t seed = 0;
};

/// Of the rules of a family one of each kind, by the name that users know.
std::vector<std::string> distinct_rules(const diffusion::Family& family);

/// DDPM and flow on a swiss roll: trajectories, states on the way, rules by step counts. core::Stopped.
Chapter toy_chapter(const ToyConfig& config, const core::StopFlag& stop);
/// Guidance between three classes of points. core::Stopped.
Chapter toy_guidance_chapter(const ToyConfig& config, const core::StopFlag& stop);

}  // namespace microdit::explain

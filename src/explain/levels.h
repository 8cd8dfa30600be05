// How each path adds noise, which noise levels training sees, and what an error counts there.
#pragma once

#include <vector>

#include "diffusion/objective.h"
#include "explain/chapter.h"

namespace microdit::explain {

/// `path` with the prediction that is its own, and all else at its default.
diffusion::Objective objective_of(const std::string& path);

/// `count` moments at even distances from nearly no noise to the most: over the path's time; of edm, which has no end, along the
/// sampler's own grid from sigma_min to sigma_max.
std::vector<diffusion::Moment> along(const diffusion::Objective& objective, std::int64_t count);

/// alpha, sigma, gamma (alpha^2, where a path is given by it) and the logarithm of alpha^2 / sigma^2 over time; the density of every
/// time law over that; the weight of an error of x0 by what is predicted.
Chapter levels_chapter();

}  // namespace microdit::explain

// Points drawn from a toy model by the library's sampler.
#pragma once

#include "diffusion/sampler_config.h"
#include "explain/toy_net.h"
#include "image/plot.h"

namespace microdit::explain {

inline constexpr std::int64_t kPoints = 1000;  ///< of a cloud

/// x on its way, float64, from the unit noise to the sample.
using Way = std::vector<torch::Tensor>;

/// `rule` on the grid "trailing", from the first time there is to the last: the same for all rules.
diffusion::SamplerConfig toy_sampler(const std::string& rule, std::int64_t steps, double guidance = 1);

/// Row i starts from the noise of (seed, i), whatever the sampler is. core::Stopped when `stop` is seen.
Way toy_way(const ToyModel& model, const diffusion::SamplerConfig& sampler, std::int64_t count,
            const diffusion::Condition& condition, std::uint64_t seed, const core::StopFlag& stop);

/// Median over the rows of a way's length by the distance of its ends: 1 is straight.
double length_by_distance(const Way& way);
/// S of Liu et al. 2022 ("Flow straight and fast", section 2.2) over even steps, by the mean square of the distances: the mean of
/// |v - (end - start)|^2 over rows and steps by that of |end - start|^2. 0: all go straight at an even pace.
double straightness(const Way& way);

/// Rows of [N, 2, 1, 1] as dots.
image::Series dots(const torch::Tensor& x_N211, std::int64_t color, bool faint, double size);

}  // namespace microdit::explain

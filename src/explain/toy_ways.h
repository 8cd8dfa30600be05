// Ways of points between noise and data, in the plane and over their steps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "diffusion/objective.h"
#include "explain/chapter.h"
#include "explain/toy_sampling.h"

namespace microdit::explain {

inline constexpr std::int64_t kBlue = 0, kOrange = 1, kGrey = 7;  // in the cycle of colours

/// A square plot of the plane.
image::Image plane(const std::vector<image::Series>& series, const std::string& title, std::int64_t side);

struct NamedWay {
  std::string name;
  std::int64_t shown;  ///< ways that are drawn: one that noise shakes hides the others
  Way way;
};

/// What training shows the network: each datum with a noise of its own, joined by `objective`'s path.
Way pairs_way(const diffusion::Objective& objective, const torch::Tensor& data_N211,
              const torch::Tensor& noise_N211);

/// Above, ways over the data; below, their height over the steps. The caption is `words` and the lengths; `numbers` takes them,
/// and the straightness.
Figure ways_figure(const std::string& name, const std::string& words, const std::vector<NamedWay>& ways,
                   const torch::Tensor& data, core::Json& numbers);

}  // namespace microdit::explain

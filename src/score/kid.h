// Distance between two sets of features without an assumption on their shape (KID: Binkowski et al. 2018).
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "core/stop_flag.h"

namespace microdit::score {

struct KernelDistance {
  double mean = 0, deviation = 0;  ///< over the subsets
  std::int64_t subset_size = 0, subsets = 0;
};

/// Squared maximum mean discrepancy under the kernel (x.y / D + 1)^3, estimated without bias (it may be below 0) on `subsets` subsets of
/// min(1000, N, M) pictures each, drawn without replacement by `seed`; as clean-fid's kernel_distance. One subset where it would
/// be all pictures of both sides. Features [N, D], [M, D], any floating type; computed in fp64. UserError: fewer than 2 pictures, other
/// widths, values that are not finite. core::Stopped when `stop` is seen, looked at before each subset.
KernelDistance kernel_distance(const torch::Tensor& a_ND, const torch::Tensor& b_MD, std::int64_t subsets,
                               std::uint64_t seed, const core::StopFlag& stop);

}  // namespace microdit::score

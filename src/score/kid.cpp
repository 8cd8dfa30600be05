// Subsets and their estimates.
#include "score/kid.h"

#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/seed.h"

namespace microdit::score {
namespace {

constexpr std::int64_t kLargestSubset = 1000;

/// `size` different rows: the beginning of a shuffle.
torch::Tensor drawn(const torch::Tensor& rows_ND, std::int64_t size, core::CounterRng rng) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(rows_ND.size(0)));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = 0; i < static_cast<std::size_t>(size); ++i)
    std::swap(order[i], order[i + rng.below(order.size() - i)]);
  order.resize(static_cast<std::size_t>(size));
  return rows_ND.index_select(0, torch::tensor(order, torch::kLong));
}

torch::Tensor kernel(const torch::Tensor& x_ND, const torch::Tensor& y_MD) {
  return (x_ND.mm(y_MD.t()) / static_cast<double>(x_ND.size(1)) + 1).pow(3);
}

/// Mean over pairs of different pictures.
double mean_within(const torch::Tensor& x_ND) {
  const torch::Tensor k = kernel(x_ND, x_ND);
  const auto n = static_cast<double>(x_ND.size(0));
  return (k.sum() - k.trace()).item<double>() / (n * (n - 1));
}

}  // namespace

KernelDistance kernel_distance(const torch::Tensor& a_ND, const torch::Tensor& b_MD, std::int64_t subsets,
                               std::uint64_t seed, const core::StopFlag& stop) {
  if (a_ND.size(1) != b_MD.size(1))
    core::user_error("{} features against {}: of another network", a_ND.size(1), b_MD.size(1));
  const torch::Tensor a = a_ND.to(torch::kDouble), b = b_MD.to(torch::kDouble);
  if (!a.isfinite().all().item<bool>() || !b.isfinite().all().item<bool>())
    core::user_error("features: there are values that are not finite");
  KernelDistance found;
  found.subset_size = std::min({kLargestSubset, a.size(0), b.size(0)});
  if (found.subset_size < 2) core::user_error("kid_subsets: a subset needs two pictures at least");
  found.subsets = found.subset_size == std::max(a.size(0), b.size(0)) ? 1 : subsets;
  std::vector<double> distances;
  for (std::int64_t s = 0; s < found.subsets; ++s) {
    if (stop.requested()) throw core::Stopped();
    const auto of = [&](const torch::Tensor& rows, std::uint64_t side) {
      const core::CounterRng rng(seed, core::Purpose::order, static_cast<std::uint64_t>(s), side);
      return drawn(rows, found.subset_size, rng);
    };
    const torch::Tensor x = of(a, 0), y = of(b, 1);
    distances.push_back(mean_within(x) + mean_within(y) - 2 * kernel(x, y).mean().item<double>());
  }
  const auto count = static_cast<double>(found.subsets);
  found.mean = std::accumulate(distances.begin(), distances.end(), 0.0) / count;
  for (const double distance : distances)
    found.deviation += (distance - found.mean) * (distance - found.mean) / count;
  found.deviation = std::sqrt(found.deviation);
  return found;
}

}  // namespace microdit::score

// Ranks and their summary.
#include "eval/retrieval.h"

#include <algorithm>

namespace microdit::eval {

std::vector<std::int64_t> retrieval_ranks(const torch::Tensor& painted_PD, const torch::Tensor& candidates_ND,
                                          const std::vector<std::int64_t>& truth) {
  const torch::Tensor candidates = candidates_ND.to(torch::kFloat64);
  std::vector<std::int64_t> ranks;
  for (std::size_t p = 0; p < truth.size(); ++p) {
    // Differences, not the dot-product form: equal pictures must be exactly equally far.
    const torch::Tensor distance =
        (candidates - painted_PD[static_cast<std::int64_t>(p)].to(torch::kFloat64)).square().sum(1);
    ranks.push_back((distance < distance[truth[p]]).sum().item<std::int64_t>());
  }
  return ranks;
}

core::Json summarize_ranks(std::vector<std::int64_t> ranks, std::int64_t candidates) {
  std::sort(ranks.begin(), ranks.end());
  const auto count = static_cast<double>(ranks.size());
  const auto share = [&](auto&& holds) {
    return static_cast<double>(std::count_if(ranks.begin(), ranks.end(), holds)) / count;
  };
  core::Json out;
  out["top1"] = share([](std::int64_t rank) { return rank == 0; });
  out["within_1_percent"] = share([&](std::int64_t rank) { return rank * 100 < candidates; });
  const std::size_t middle = ranks.size() / 2;
  out["median_rank"] = ranks.size() % 2 == 1 ? static_cast<double>(ranks[middle])
                                             : 0.5 * static_cast<double>(ranks[middle - 1] + ranks[middle]);
  out["chance_top1"] = 1.0 / static_cast<double>(candidates);
  out["prompts"] = ranks.size();
  out["candidates"] = candidates;
  return out;
}

}  // namespace microdit::eval

// Ranks and their summary.
#include "eval/retrieval.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>

#include "core/error.h"

namespace microdit::eval {

namespace {

/// Squared distance in double. Eight sums, so that the compiler may keep them in one register.
double squared_distance(const float* a, const float* b, std::int64_t count) {
  constexpr std::int64_t kLanes = 8;
  std::array<double, kLanes> sums{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double difference = static_cast<double>(a[i + lane]) - static_cast<double>(b[i + lane]);
      sums[static_cast<std::size_t>(lane)] += difference * difference;
    }
  }
  double sum = 0;
  for (const double one : sums) sum += one;
  for (; i < count; ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += difference * difference;
  }
  return sum;
}

}  // namespace

NearerCounter::NearerCounter(torch::Tensor painted_PD, torch::Tensor own_PD)
    : painted_PD_(painted_PD.contiguous()), nearer_(static_cast<std::size_t>(painted_PD.size(0))) {
  core::check(painted_PD.sizes() == own_PD.sizes() && painted_PD.scalar_type() == torch::kFloat32,
              "painted rows and their samples differ in shape");
  const torch::Tensor own = own_PD.contiguous();
  const std::int64_t width = own.size(1);
  for (std::int64_t p = 0; p < own.size(0); ++p) {
    own_distance_.push_back(squared_distance(painted_PD_.data_ptr<float>() + p * width,
                                             own.data_ptr<float>() + p * width, width));
  }
}

void NearerCounter::add(const torch::Tensor& candidates_ND) {
  const torch::Tensor candidates = candidates_ND.to(torch::kFloat32).contiguous();
  const std::int64_t width = painted_PD_.size(1), count = candidates.size(0);
  core::check(candidates.size(1) == width, "candidates of width {}, painted {}", candidates.size(1), width);
  const float* rows = candidates.data_ptr<float>();
  const float* painted = painted_PD_.data_ptr<float>();
  at::parallel_for(0, painted_PD_.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      const auto at = static_cast<std::size_t>(p);
      for (std::int64_t i = 0; i < count; ++i)
        nearer_[at] += squared_distance(painted + p * width, rows + i * width, width) < own_distance_[at];
    }
  });
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

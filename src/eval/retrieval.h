// Prompt retrieval: does the painted latent lie nearest to the sample whose caption was painted?
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "core/json.h"

namespace microdit::eval {

/// Counts for each painted row how many candidates are strictly nearer (L2) to it than its own sample.
/// Candidates come in any order and in pieces of any size; the own sample may be among them. Sums run in one
/// fixed order, so equal candidates are equally far.
class NearerCounter {
 public:
  /// Both [P, D], fp32 on the CPU.
  NearerCounter(torch::Tensor painted_PD, torch::Tensor own_PD);
  void add(const torch::Tensor& candidates_ND);
  const std::vector<std::int64_t>& nearer() const { return nearer_; }

 private:
  torch::Tensor painted_PD_;
  std::vector<double> own_distance_;
  std::vector<std::int64_t> nearer_;
};

/// {top1, within_1_percent, median_rank, chance_top1, prompts, candidates}.
core::Json summarize_ranks(std::vector<std::int64_t> ranks, std::int64_t candidates);

}  // namespace microdit::eval

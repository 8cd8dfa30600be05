// Prompt retrieval: does the painted latent lie nearest to the sample whose caption was painted?
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"

namespace microdit::eval {

/// For each row of `painted` [P, D]: how many rows of `candidates` [N, D] are strictly nearer (L2) than row
/// truth[p].
std::vector<std::int64_t> retrieval_ranks(const torch::Tensor& painted_PD, const torch::Tensor& candidates_ND,
                                          const std::vector<std::int64_t>& truth);

/// {top1, within_1_percent, median_rank, chance_top1, prompts, candidates}.
core::Json summarize_ranks(std::vector<std::int64_t> ranks, std::int64_t candidates);

}  // namespace microdit::eval

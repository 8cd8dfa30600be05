// evaluate: eval loss at fixed noise, and prompt retrieval, into metrics.json.
#pragma once

#include <cstdint>
#include <string>

#include "core/config.h"
#include "comm/communicator.h"
#include "eval/trained_run.h"

namespace microdit::eval {

struct EvaluateConfig {
  std::int64_t prompts = 256;   ///< per split, for retrieval; 0 = no retrieval
  std::int64_t loss_draws = 4;  ///< noise draws per held-out sample
  std::int64_t seed = 7;        ///< of the fixed noise and of the choice of prompts
  std::string caption{};        ///< caption source of the prompts; empty = the first that the run trained on
  RunOptions run{.batch_size = 32, .sampler = {.steps = 24}};
  void fields(core::Fields& f);
};

/// Writes RUN/metrics.json: `eval_loss` on the held-out split, `retrieval.{trained,held_out}.{top1,
/// within_1_percent, median_rank, chance_top1, prompts, candidates}`; and RUN/evaluation/*.png, the best and
/// the worst beside the truth. Retrieval: paint a sample's caption, rank all samples' latents (both splits)
/// by L2 distance to the painted one; the rank of the true sample is the number of samples that are strictly
/// nearer.
int evaluate(const std::string& run, const EvaluateConfig& config, comm::Communicator& comm);

}  // namespace microdit::eval

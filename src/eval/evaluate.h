// evaluate: eval loss at fixed noise, and prompt retrieval, into metrics.json.
#pragma once

#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "core/config.h"
#include "core/stop_flag.h"
#include "eval/trained_run.h"

namespace microdit::eval {

struct EvaluateConfig {
  std::int64_t prompts = 256;         ///< per split, for retrieval; 0 = no retrieval
  std::int64_t candidates = 20000;    ///< at most so many samples are ranked, a fixed draw over both splits
  std::int64_t loss_samples = 10000;  ///< at most so many held-out samples, a fixed draw; 0 = all
  std::int64_t loss_draws = 4;        ///< noise draws per sample
  std::int64_t seed = 7;              ///< of the fixed noise and of all draws
  std::string caption{};        ///< caption source of the prompts; empty = the first that the run trained on
  EvaluatedData validation{};   ///< measured instead of what the run's own data hold out
  bool own_validation = false;  ///< it was given; else it is the run's own
  bool save_latents = false;    ///< also SPLIT_latents.safetensors
  RunOptions run{.batch_size = 32, .sampler = {.steps = 24}};
  void fields(core::Fields& f);
};

/// Writes RUN/evaluation/NNN-step-N/metrics.json, each call into a folder of its own (an equal one into the same), and
/// copies the newest to RUN/metrics.json. `eval_loss` on `eval_loss_split` (held_out, or train where nothing is held
/// out) of `eval_data` (names; absent = the run's own), `loss.{trained,held_out,untrained}`, `loss_samples`, `retrieval.{trained,held_out}.{top1, within_1_percent,
/// median_rank, chance_top1, prompts, candidates}`; and pictures, the best and the worst beside the originals.
/// Retrieval: paint a sample's caption, rank the candidates' latents by L2 distance to the painted one; the rank of
/// the true sample is the number of candidates that are strictly nearer. Memory does not grow with the data. kDone,
/// or kRequeueMe after a stop (within a batch).
int evaluate(const std::string& run, const EvaluateConfig& config, comm::Communicator& comm,
             const core::StopFlag& stop);

/// Checks run, encoders and data, says what it will need, and writes nothing.
int describe_evaluate(const std::string& run, const EvaluateConfig& config, comm::Communicator& comm);

}  // namespace microdit::eval

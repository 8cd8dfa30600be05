// A trained run, opened for use: its facts, its newest good checkpoint, the network with those weights.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <memory>
#include <string>

#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"
#include "core/config.h"
#include "diffusion/objective.h"
#include "diffusion/sampler.h"
#include "eval/compute.h"
#include "eval/run_facts.h"
#include "eval/run_sources.h"
#include "models/denoiser.h"

namespace microdit::eval {

/// How to open a trained run and to ask it for pictures.
struct RunOptions {
  std::int64_t step = -1;        ///< of the checkpoint; -1 = the newest that verifies
  std::string weights = "auto";  ///< auto | ema | raw
  ComputeOptions compute{};
  std::int64_t batch_size = 8;
  diffusion::SamplerConfig sampler{};
  void fields(core::Fields& f);
};

struct TrainedRun {
  std::filesystem::path folder;
  RunFacts facts;
  checkpoint::Reader checkpoint;
  std::string weights;  ///< "ema" or "raw": which are taken
  diffusion::Objective objective;
  diffusion::SamplerConfig sampler;  ///< the options', its rule and guidance settled
  std::string trained_precision;
  std::vector<ValidationSource> validation;  ///< validation.data of the run's settings

  std::int64_t step() const { return checkpoint.step(); }
  /// What tells this checkpoint from every other.
  std::string checkpoint_sha256() const;
  /// The network with its weights, in evaluation mode.
  std::shared_ptr<models::Denoiser> load_model(torch::Device device) const;
};

/// UserError: its sampler cannot paint (a grid with fewer times than steps, guidance without a null condition).
void check_sampler(const TrainedRun& run, bool with_class = false);

/// What painting with it needs, for --dry-run.
std::string needs_text(const TrainedRun& run, const RunOptions& options);

/// The run of --run, which may also name RUN/checkpoints or one RUN/checkpoints/step_N.
std::filesystem::path run_folder_of(const std::filesystem::path& given);

/// `given` as for run_folder_of. Collective. UserError: no such run, no (such) checkpoint, settings or facts that are no longer whole.
TrainedRun open_run(const std::filesystem::path& given, const RunOptions& options, comm::Communicator& comm);

}  // namespace microdit::eval

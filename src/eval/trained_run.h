// A trained run, opened for use: its facts, its newest good checkpoint, the network with those weights.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <memory>
#include <string>

#include "core/config.h"
#include "core/json.h"
#include "diffusion/objective.h"
#include "diffusion/sampler.h"
#include "comm/communicator.h"
#include "models/denoiser.h"

namespace microdit::eval {

/// How to open a trained run and to ask it for pictures.
struct RunOptions {
  std::string weights = "auto";  ///< auto | ema | raw
  std::string device = "cpu";
  std::int64_t threads_per_rank = 1;
  std::int64_t batch_size = 8;
  diffusion::SamplerConfig sampler{};
  bool own_guidance = false;  ///< guidance was given; else it is the run's own (sampling.guidance)
  void fields(core::Fields& f);
};

struct TrainedRun {
  std::filesystem::path folder;
  core::Json facts;
  std::int64_t step = 0;
  std::string weights;  ///< "ema" or "raw": which were taken
  std::shared_ptr<models::Denoiser> model;
  diffusion::Objective objective;
  diffusion::SamplerConfig sampler;  ///< the options', its guidance settled
  torch::Device device;
};

/// Also sets the number of threads. UserError: no such run, no checkpoint, other model.
TrainedRun open_run(const std::filesystem::path& folder, const RunOptions& options, comm::Communicator& comm);

}  // namespace microdit::eval

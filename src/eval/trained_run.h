// A trained run, opened for use: its facts, its newest good checkpoint, the network with those weights.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <string>

#include "core/json.h"
#include "diffusion/objective.h"
#include "dist/communicator.h"
#include "models/denoiser.h"

namespace microdit::eval {

struct TrainedRun {
  std::filesystem::path folder;
  core::Json facts;
  std::int64_t step = 0;
  std::string weights;  ///< "ema" or "raw": which were taken
  std::shared_ptr<models::Denoiser> model;
  diffusion::Objective objective;
};

/// `weights`: ema | raw | auto (ema where the checkpoint has it). UserError: no such run, no checkpoint, other model.
TrainedRun open_run(const std::filesystem::path& folder, const std::string& weights, torch::Device device,
                    dist::Communicator& comm);

}  // namespace microdit::eval

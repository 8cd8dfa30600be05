// Loss on fixed held-out samples, with fixed captions, noise and times: curves of it can be compared, over steps, runs and world sizes.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "diffusion/objective.h"
#include "eval/eval_data.h"
#include "models/denoiser.h"
#include "train/train_config.h"
#include "train/validated.h"

namespace microdit::train {

class Validation {
 public:
  /// Opens the held-out samples: those of `config.data`, else of the run's data. Collective where `once` is. UserError where there
  /// are none.
  Validation(const ValidationConfig& config, const eval::RunFacts& facts,
             const std::filesystem::path& run_folder, const stream::Once& once);
  /// Of `config.data`: what identifies it; "" without.
  std::string version() const;
  /// Unmasked, no caption dropped; each sample at each level of noise. The ranks share the work by blocks and levels; the sums do not depend
  /// on their number. Collective; nothing when `stop` was seen.
  std::optional<Validated> measure(models::Denoiser& model, const diffusion::Objective& objective,
                                   torch::Device device, comm::Communicator& comm,
                                   const core::StopFlag& stop) const;

 private:
  double block_loss(models::Denoiser& model, const diffusion::Objective& objective, torch::Device device,
                    const eval::Piece& piece, std::int64_t level) const;

  ValidationConfig config_;
  models::DenoiserConfig model_config_;
  std::unique_ptr<eval::Split> split_;
  std::int64_t samples_ = 0;
};

}  // namespace microdit::train

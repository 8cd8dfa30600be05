// What evaluate measures with an opened run: loss, painted prompts, distances.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "eval/best_and_worst.h"
#include "eval/compute.h"
#include "eval/eval_data.h"
#include "eval/evaluate.h"
#include "eval/painter.h"
#include "eval/trained_run.h"

namespace microdit::eval {

class Evaluation {
 public:
  /// Chooses the device, finds the encoders, loads the network. Collective.
  Evaluation(const EvaluateConfig& config, const TrainedRun& run, comm::Communicator& comm,
             const core::StopFlag& stop);

  // Collective; nothing when a stop was asked for.
  std::optional<double> loss(const Split& split, std::int64_t samples) const;
  /// The same of a network that predicts zeros, as a microdit before its first step, whose last layer is zero.
  std::optional<double> untrained_loss(const Split& split, std::int64_t samples) const;
  std::optional<Painted> paint(const Split& split) const;
  /// For each painted row of both splits, the candidates that are nearer than its own sample.
  std::optional<std::vector<std::int64_t>> nearer(const std::vector<Painted>& painted,
                                                  const std::vector<std::unique_ptr<Split>>& splits,
                                                  const std::vector<std::int64_t>& shares) const;
  const Painter& painter() const { return painter_; }
  std::string precision() const { return compute_.bf16 ? "bf16" : "fp32"; }

 private:
  /// Blocks of this rank, round by round; the ranks agree after each on whether to stop: false.
  template <class Work>
  bool share_blocks(std::int64_t blocks, const Work& work) const {
    for (std::int64_t first = 0; first < blocks; first += comm_.size()) {
      const std::int64_t block = first + comm_.rank();
      if (block < blocks && !stop_.requested()) work(block);
      if (comm_.any(stop_.requested())) return false;
    }
    return true;
  }
  double block_loss(const diffusion::DenoiseFn& network, const Piece& piece) const;
  std::optional<double> loss_of(const diffusion::DenoiseFn& network, const Split& split,
                                std::int64_t samples) const;

  const EvaluateConfig& config_;
  const TrainedRun& run_;
  comm::Communicator& comm_;
  const core::StopFlag& stop_;
  Compute compute_;
  Painter painter_;
  std::shared_ptr<models::Denoiser> model_;
};

}  // namespace microdit::eval

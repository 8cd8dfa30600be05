// The training loop: resume, step, checkpoint, agreed stop. Knows nothing of what is trained.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "checkpoint/checkpoint.h"
#include "core/stop_flag.h"
#include "comm/communicator.h"
#include "train/flat_parameters.h"
#include "train/metrics.h"
#include "train/run_folder.h"
#include "train/sharding.h"
#include "train/train_config.h"
#include "train/train_task.h"

namespace microdit::train {

/// A run's settings as they are kept: for comparison at a resume, and to read.
struct RunSettings {
  core::Json json;   ///< resolved
  std::string yaml;  ///< resolved
  std::int64_t picture_every_steps = 0;
};

class Trainer {
 public:
  /// Opens the run folder (see RunFolder::open), loads the newest checkpoint or the initial weights.
  Trainer(const LoopConfig& config, RunSettings settings, TrainTask& task, torch::Device device,
          comm::Communicator& comm, const core::StopFlag& stop);
  /// core::kDone, or core::kRequeueMe when all ranks agreed to stop (a checkpoint is written). SystemError
  /// when the loss stays non-finite.
  int run();

 private:
  /// What the ranks tell one another once per step.
  struct Agreement {
    double norm2 = 0;
    double loss = 0;
    bool stop = false;
    bool durable = false;
    bool checkpoint_due = false;
  };

  void resume();
  void initialize();
  void step();
  double backward();
  Agreement agree(double norm2_here, double loss_here);
  void apply(const Agreement& agreed);
  void start_checkpoint();
  void show_picture();
  void close();
  core::Json state() const;

  const LoopConfig config_;
  TrainTask& task_;
  torch::Device device_;
  comm::Communicator& comm_;
  const core::StopFlag& stop_;
  RunFolder run_;
  std::int64_t picture_every_steps_;
  std::optional<FlatParameters> flat_;
  std::optional<ShardedOptimizer> optimizer_;
  std::optional<checkpoint::Writer> writer_;
  std::optional<Metrics> metrics_;  ///< rank 0
  std::int64_t completed_ = 0;      ///< steps done
  std::int64_t updates_ = 0;        ///< AdamW's own count (skipped steps do not count)
  std::int64_t skipped_in_a_row_ = 0;
  std::int64_t last_checkpoint_ = -1;
  std::chrono::steady_clock::time_point last_checkpoint_time_;
  bool stop_agreed_ = false;
};

/// decay_steps 0 becomes the value of the run's first start, or `steps` if this is it.
void resolve_decay_steps(LoopConfig& config);
RunFolder run_folder(const LoopConfig& config);

}  // namespace microdit::train

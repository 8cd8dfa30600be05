// The training loop: resume, step, checkpoint, agreed stop. Knows nothing of what is trained.
#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "train/flat_parameters.h"
#include "train/metrics.h"
#include "train/run_folder.h"
#include "train/sharding.h"
#include "train/train_config.h"
#include "train/train_task.h"

namespace microdit::train {

/// What a run's rank needs beside its settings.
struct TrainerParts {
  TrainTask& task;
  torch::Device device;
  comm::Communicator& comm;
  const core::StopFlag& stop;
};

/// How long the ranks may wait while one of them reads and hashes a whole checkpoint, paints or measures.
inline constexpr double kLongWork_s = 3600;

class Trainer {
 public:
  /// Compares settings and facts with the run's, if it exists; loads its newest checkpoint, or the initial weights; takes
  /// hold of the folder (RunFolder::open). `picture_every_steps`: 0 = no pictures.
  Trainer(const LoopConfig& config, const RunSettings& settings, std::int64_t picture_every_steps,
          TrainerParts parts);
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
    std::int64_t bad_rows = 0;
  };

  void load_or_initialize();
  void load_initial(const checkpoint::Reader& reader);
  void step();
  double backward();
  Agreement agree(double norm2_here, double loss_here);
  void apply(const Agreement& agreed);
  void start_checkpoint();
  void publish_checkpoint();
  template <class Work>
  void or_warn(const char* what, const Work& work);
  void final_checkpoint();
  void show_picture();
  void report_in_background();
  bool close();
  core::Json state() const;

  const LoopConfig config_;
  TrainTask& task_;
  torch::Device device_;
  comm::Communicator& comm_;
  const core::StopFlag& stop_;
  RunFolder run_;
  const core::Json life_;  ///< of RunSettings
  std::int64_t picture_every_steps_;
  std::optional<FlatParameters> flat_;
  std::optional<ShardedOptimizer> optimizer_;
  std::optional<checkpoint::Writer> writer_;
  std::optional<Metrics> metrics_;  ///< rank 0
  std::future<void> report_;        ///< rank 0: being written
  std::int64_t completed_ = 0;      ///< steps done
  std::int64_t updates_ = 0;        ///< AdamW's own count (skipped steps do not count)
  std::int64_t skipped_in_a_row_ = 0;
  std::int64_t last_checkpoint_ = -1;  ///< step of the newest that is published or being written
  std::chrono::steady_clock::time_point last_checkpoint_time_;
  double wait_s_ = 0;  ///< for the present step's data
  bool stop_agreed_ = false;
};

/// decay_steps 0 becomes the value of the run's first start, or `steps` if this is it. Collective.
void resolve_decay_steps(LoopConfig& config, comm::Communicator& comm);

}  // namespace microdit::train

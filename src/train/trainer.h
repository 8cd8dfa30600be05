// The training loop: resume, step, checkpoint, agreed stop. Knows nothing of what is trained.
#pragma once

#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "nn/flop_counter.h"
#include "train/metrics.h"
#include "train/plan.h"
#include "train/run_folder.h"
#include "train/sharded_training.h"
#include "train/stragglers.h"
#include "train/train_config.h"
#include "train/train_task.h"
#include "train/validated.h"

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

/// How often something is done beside the steps; 0 = never.
struct Cadences {
  std::int64_t picture_every_steps = 0;
  std::int64_t validate_every_steps = 0;
  std::int64_t patience = 0;  ///< validations in a row that are not the best end the run
  bool keep_best = false;     ///< the best one's checkpoint
  std::string measured{};     ///< on what: losses on something else are not compared
};

class Trainer {
 public:
  /// Compares settings and facts with the run's, if it exists; loads its newest checkpoint, or the initial weights; takes
  /// hold of the folder (RunFolder::open).
  Trainer(const LoopConfig& config, const RunSettings& settings, const Cadences& cadences,
          TrainerParts parts);
  ~Trainer() { task_.set_block_runner({}); }
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
    std::vector<double> levels{};  ///< TrainTask::take_level_losses, of all ranks
  };

  std::vector<double> load_or_initialize();
  void build();
  std::string sharding_text() const;
  void warn_of_layout(const core::Json& state) const;
  MemoryPlan memory() const;
  void load_initial(const checkpoint::Reader& reader);
  void load_moments(const std::filesystem::path& file);
  void step();
  std::int64_t rows() const { return config_.rows(comm_.size()); }
  double backward();
  torch::Tensor loss_of(const Slice& slice);
  void measure(const nn::FlopCounter& counted, std::int64_t images);
  Agreement agree(double norm2_here, double loss_here);
  void apply(const Agreement& agreed);
  void start_checkpoint();
  void publish_checkpoint();
  /// A checkpoint that cannot be written costs safety, not the training: it is said, and the next one is tried when it is due.
  void or_warn(const char* what, void (Trainer::*work)());
  void final_checkpoint();
  void show_picture();
  bool validation_is_due() const;
  void validate_if_due();
  bool is_over() const;
  void lead_to_best(std::int64_t published);
  std::int64_t best_of_link() const;
  checkpoint::Retention retention() const;
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
  Cadences cadences_;
  BestWatch best_;
  std::int64_t best_there_ = -1;  ///< rank 0: step of the best checkpoint that is published; -1 = none
  std::optional<ShardedTraining> training_;
  std::optional<checkpoint::Writer> writer_;
  std::optional<Metrics> metrics_;  ///< rank 0
  std::future<void> report_;        ///< rank 0: being written
  std::int64_t completed_ = 0;      ///< steps done
  std::int64_t updates_ = 0;        ///< AdamW's own count (skipped steps do not count)
  std::int64_t skipped_in_a_row_ = 0;
  std::int64_t last_checkpoint_ = -1;  ///< step of the newest that is published or being written
  bool writes_best_ = false;           ///< it was the best when it was begun
  std::chrono::steady_clock::time_point last_checkpoint_time_;
  std::optional<Stragglers> stragglers_;
  std::optional<SlowestRank> slowest_;  ///< as of the present step, where it was looked at
  bool is_measured_ = false;            ///< what an image takes, and the peak
  double wait_s_ = 0;                   ///< for the present step's data
  double comm_s_ = 0;                   ///< of the present step, in collectives
  double checkpoint_s_ = 0;             ///< since the last step's line
  bool stop_agreed_ = false;
};

/// decay_steps 0 becomes the value of the run's first start, or `steps` if this is it. Collective.
void resolve_decay_steps(LoopConfig& config, comm::Communicator& comm);

}  // namespace microdit::train

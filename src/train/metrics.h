// The one sink of a run's numbers: metrics.jsonl, TensorBoard, a progress line for the batch log. Nothing here ends a
// training: what cannot be written warns and is tried again.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "core/append_file.h"
#include "train/loss_watch.h"
#include "train/run_folder.h"
#include "train/stragglers.h"
#include "train/tensorboard.h"
#include "train/validated.h"

namespace microdit::train {

struct StepMetrics {
  std::int64_t step = 0;
  double loss = 0;
  double lr = 0;
  double grad_norm = 0;
  double wait_s = 0;                     ///< of this step: until its data was there
  double comm_s = 0;                     ///< of this step: in collectives, waiting for other ranks too
  double checkpoint_s = 0;               ///< since the last step: what checkpoints kept the loop waiting
  std::vector<double> levels{};          ///< TrainTask::take_level_losses, over all ranks
  std::optional<SlowestRank> slowest{};  ///< where it was looked at
  double gpu_memory_gb = 0;              ///< peak of torch's allocator, this rank; 0 = no GPU
  std::int64_t bad_rows = 0;             ///< of this life, all ranks: rows of the data that were replaced
  bool skipped = false;                  ///< the gradient was not finite; nothing was updated
};

/// Where a life begins.
struct MetricsStart {
  std::int64_t step = 0;
  bool validates = false;        ///< anew at that step: what an earlier life found there goes
  std::vector<double> levels{};  ///< open_levels() of the life before
};

/// Lives on rank 0 only.
class Metrics {
 public:
  /// Cuts metrics.jsonl back (aside, renamed) to lines of steps <= start.step, then appends.
  Metrics(const RunFolder& run, const MetricsStart& start, std::int64_t total_steps, std::int64_t batch_size,
          std::int64_t log_every_steps);
  void step(const StepMetrics& metrics);
  /// FLOPs that a training image takes, and FLOP/s of the fastest product on all ranks together: from now on the speed is told by them, too.
  void measure_by(double flops_per_image, double peak);
  /// What was done since `begin` was no training: the speed does not know of it.
  void leave_out(std::chrono::steady_clock::time_point begin);
  /// `best`: so far, by the rule of BestWatch.
  void validation(std::int64_t step, const Validated& raw, const std::optional<Validated>& average,
                  bool best);
  void picture(const std::string& tag, std::int64_t step, const std::filesystem::path& png_file,
               std::int64_t height, std::int64_t width);
  /// Makes what was logged so far durable; called before a checkpoint is published.
  void sync();
  /// Losses by noise level since they were written last, for checkpoints: a resumed run says of them what an undisturbed one does.
  const std::vector<double>& open_levels() const { return levels_; }
  std::int64_t num_skipped() const { return num_skipped_; }
  const LossWatch& watch() const { return watch_; }

 private:
  using Clock = std::chrono::steady_clock;
  void progress(const StepMetrics& metrics, double step_s);
  void add_levels(const StepMetrics& metrics, core::Json& line);
  void add_slowest(const StepMetrics& metrics, core::Json& line);
  double images_per_s() const;
  double share_of_peak() const;

  std::int64_t first_step_, total_steps_, batch_size_, log_every_;
  LossWatch watch_;  ///< over all lives of the run
  bool divergence_is_said_ = false;
  core::AppendFile file_;
  EventFile events_;
  std::deque<Clock::time_point> ends_;  ///< of the last steps, and of what came before the first of them
  Clock::time_point last_line_;
  double start_gb_;  ///< resident when the training begins
  double wait_since_line_s_ = 0, comm_since_line_s_ = 0;
  double flops_per_image_ = 0, peak_ = 0;
  std::vector<double> levels_;  ///< since they were written last
  std::int64_t num_skipped_ = 0;
};

}  // namespace microdit::train

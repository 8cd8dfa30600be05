// The one sink of a run's numbers: metrics.jsonl, TensorBoard, a progress line for the batch log.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "train/run_folder.h"
#include "train/tensorboard.h"

namespace microdit::train {

struct StepMetrics {
  std::int64_t step = 0;
  double loss = 0;
  double lr = 0;
  double grad_norm = 0;
  bool skipped = false;  ///< the gradient was not finite; nothing was updated
};

/// Lives on rank 0 only.
class Metrics {
 public:
  /// Cuts metrics.jsonl back (aside, renamed) to lines of steps <= resumed_step, then appends.
  Metrics(const RunFolder& run, std::int64_t resumed_step, std::int64_t total_steps, std::int64_t batch_size,
          std::int64_t log_every_steps);
  ~Metrics();
  void step(const StepMetrics& metrics);
  void picture(const std::string& tag, std::int64_t step, const std::filesystem::path& png_file,
               std::int64_t height, std::int64_t width);
  /// Makes what was logged so far durable; called before a checkpoint is published.
  void sync();

 private:
  void progress(const StepMetrics& metrics);
  double elapsed_s() const;

  std::int64_t first_step_, total_steps_, batch_size_, log_every_;
  std::FILE* file_ = nullptr;
  EventFile events_;
  std::chrono::steady_clock::time_point start_, last_line_;
  std::int64_t last_line_step_;
  double window_rate_ = 0;
};

}  // namespace microdit::train

// The learning rate of a step.
#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace microdit::train {

double learning_rate(const OptimizerConfig& optimizer, const ScheduleConfig& schedule,
                     std::int64_t completed) {
  const auto t = static_cast<double>(completed);
  const auto warmup = static_cast<double>(schedule.warmup_steps.steps());
  if (t < warmup) return optimizer.lr * t / warmup;
  if (schedule.kind == "constant") return optimizer.lr;
  const double span = std::max(1.0, static_cast<double>(schedule.decay_steps.steps()) - warmup);
  const bool cycles = schedule.kind == "cosine_cycle";
  const double done = cycles ? (t - warmup) / span : std::clamp((t - warmup) / span, 0.0, 1.0);
  const double left = schedule.kind == "linear" ? 1 - done : 0.5 * (1 + std::cos(std::numbers::pi * done));
  return optimizer.lr * (schedule.final_factor + (1 - schedule.final_factor) * left);
}

double ema_decay(const EmaConfig& ema, std::int64_t step) {
  if (step <= ema.start_step) return 0;
  if (ema.warmup == 0) return ema.decay;
  const auto i = static_cast<double>(step - ema.start_step), warmup = static_cast<double>(ema.warmup.steps());
  return ema.ramp == "linear" ? ema.decay * std::min(1.0, (i - 1) / warmup)
                              : std::min(ema.decay, i / (i + warmup));
}

}  // namespace microdit::train

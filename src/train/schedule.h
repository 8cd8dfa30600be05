// The learning rate of a step.
#pragma once

#include <cstdint>

#include "train/train_config.h"

namespace microdit::train {

/// Learning rate for the step that follows `completed` steps (0-based): linear warm-up completed /
/// warmup_steps, then constant, or down to final_factor * lr at decay_steps (cosine or linear) and constant
/// after it: Composer's rule. cosine_cycle goes on along the cosine, up again and down: torch's CosineAnnealingLR, with
/// T_max = decay_steps and eta_min = final_factor * lr where there is no warm-up.
double learning_rate(const OptimizerConfig& optimizer, const ScheduleConfig& schedule,
                     std::int64_t completed);

/// EMA decay of the update that ends step `step` (1-based).
double ema_decay(const EmaConfig& ema, std::int64_t step);

}  // namespace microdit::train

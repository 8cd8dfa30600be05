// What a validation found, and whether it is the best so far.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "core/json.h"

namespace microdit::train {

/// Mean loss on fixed held-out samples.
struct Validated {
  double loss = 0;                  ///< mean over the levels
  std::vector<double> levels = {};  ///< by noise level, from the least noise on
};

/// The best validation of a run, and for how long there has been no better. nano-diffusion's rule: a value is the best where it is
/// lower than all before it and not that of step 0; every other one counts, step 0's too.
class BestWatch {
 public:
  /// True where it is the best.
  bool add(std::int64_t step, double loss);
  std::int64_t last_step() const { return last_step_; }  ///< that was validated; -1 = none
  std::int64_t best_step() const { return best_step_; }  ///< -1 = none
  double best() const { return best_; }
  std::int64_t without_better() const { return without_better_; }
  /// For checkpoints.
  core::Json to_json() const;
  static BestWatch from_json(const core::Json& json);

 private:
  double best_ = std::numeric_limits<double>::infinity();
  std::int64_t best_step_ = -1, last_step_ = -1, without_better_ = 0;
};

}  // namespace microdit::train

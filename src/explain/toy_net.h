// A network of a few thousand weights on points, trained by the library's own objective.
#pragma once

#include <memory>

#include "core/json.h"
#include "core/stop_flag.h"
#include "diffusion/denoise_fn.h"
#include "diffusion/objective.h"
#include "explain/toy_data.h"

namespace microdit::explain {

struct ToyOrder {
  std::string name;  ///< of progress lines
  diffusion::ObjectiveConfig objective;
  ToyData data;
  std::int64_t steps = 0;
  std::uint64_t seed = 0;
};

/// A trained network: three hidden layers between (point, noise label, class) and what the objective predicts.
class ToyModel {
 public:
  /// Trains by AdamW on one thread, so that its bits do not depend on the machine's cores; the averaged weights are kept. Classes
  /// are left out for a part of the samples, so that guidance has a null to lead away from. core::Stopped when `stop` is seen.
  ToyModel(const ToyOrder& order, const core::StopFlag& stop);

  const diffusion::Objective& objective() const { return objective_; }
  diffusion::DenoiseFn denoise_fn() const;
  /// The null condition for so many rows: a class of its own. Nothing without classes.
  diffusion::Condition null(std::int64_t count) const;
  /// Mean of the loss over the last tenth of the steps.
  double final_loss() const { return final_loss_; }

 private:
  torch::Tensor forward(const torch::Tensor& weights, const diffusion::DenoiseInput& input) const;
  void train(const ToyOrder& order, const core::StopFlag& stop);

  diffusion::Objective objective_;
  std::int64_t classes_;   ///< 0: none
  torch::Tensor weights_;  ///< flat fp32
  double final_loss_ = 0;
};

}  // namespace microdit::explain

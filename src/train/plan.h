// What a training will hold, multiply and send, by its settings alone.
#pragma once

#include <cstdint>
#include <string>

#include "models/denoiser.h"
#include "stream/row_source.h"
#include "train/train_config.h"

namespace microdit::train {

/// Who trains.
struct Machine {
  int ranks = 1;
  int per_node = 1;
};

/// Bytes of a rank, as ShardedModel and OptimizerState make them.
struct MemoryPlan {
  std::int64_t weights = 0, masters = 0, gradients = 0, moments = 0, average = 0;
  std::int64_t total() const { return weights + masters + gradients + moments + average; }
  std::string text() const;
};
/// `bf16_weights`: the module computes with bf16 weights.
MemoryPlan plan_memory(const torch::nn::Module& module, const std::vector<models::BlockModules>& blocks,
                       const LoopConfig& config, const Machine& machine, bool bf16_weights);

/// Bytes that a rank sends in a step: inside its node, and to other nodes.
struct Traffic {
  double inside = 0, across = 0;
};
Traffic plan_traffic(std::int64_t parameters, const LoopConfig& config, const Machine& machine,
                     bool bf16_weights);

/// FLOPs of an image.
struct WorkPlan {
  double forward = 0, training = 0;
};
/// Counted in a forward pass, of weights that nobody has drawn (reading untouched memory takes none).
WorkPlan plan_work(models::Denoiser& net, const models::DenoiserConfig& config, const stream::RowShape& shape,
                   double mask_ratio);

/// Parameters by role, "3.1 M matrix, ...".
std::string roles_text(const torch::nn::Module& module);

}  // namespace microdit::train

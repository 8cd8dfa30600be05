// What the optimizer keeps of every weight, as named flat tensors over the held pieces: a checkpoint is written from them and read into them.
#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "nn/kernels/adamw.h"
#include "train/role_factors.h"
#include "train/sharded_model.h"
#include "train/state_source.h"

namespace microdit::train {

class OptimizerState {
 public:
  struct Options {
    bool with_ema = false;
    bool fused = true;  ///< our kernel; else torch's operations
    std::array<RoleFactors, nn::kRoleNames.size()> roles{};
  };
  OptimizerState(ShardedModel& model, const Options& options);

  /// Clip scale, AdamW and average over the held pieces, each role by its factors; then the new weights on every rank.
  void update(const nn::AdamWStep& step);
  /// Sets the average to the weights (at the start, or before ema.start_step).
  void reset_ema();
  bool has_ema() const { return ema_.defined(); }
  std::int64_t bytes_of_moments() const { return bytes_of(exp_avg_) + bytes_of(exp_avg_sq_); }
  std::int64_t bytes_of_ema() const { return bytes_of(ema_); }

  /// This rank's parts for a checkpoint: its own pieces of weights, moments and average, copied.
  std::vector<checkpoint::Part> parts();
  /// Which of a checkpoint's tensors to take.
  struct Load {
    std::string weights = "weights";  ///< "weights" or "ema"; "": those that the module has
    bool moments = true;
    bool ema = true;  ///< else the average starts at the weights
  };
  /// Each rank reads its own pieces alone, and the ranks tell one another: R ranks read a checkpoint once. UserError: of another model.
  /// Collective.
  void load(const StateSource& source, const Load& what);

  /// Runs `work` while the module has all its weights on every rank: the averaged ones where there is an average. Collective;
  /// errors as ShardedModel::with_weights.
  void with_average(const std::function<void()>& work);

 private:
  using Piece = Shards::Piece;
  /// Values of a bucket's held piece that are changed alike.
  struct Run {
    std::size_t bucket = 0;
    std::int64_t begin = 0, count = 0;  ///< within the held piece
    RoleFactors factors;
  };
  static std::int64_t bytes_of(const torch::Tensor& t) {
    return t.defined() ? static_cast<std::int64_t>(t.nbytes()) : 0;
  }
  void plan_runs(const std::array<RoleFactors, nn::kRoleNames.size()>& roles);
  void update_run(const Run& run, const nn::AdamWStep& step);
  torch::Tensor held(const torch::Tensor& values, std::size_t bucket) const;
  void check_model(const StateSource& source, const std::string& kind) const;
  void read(const StateSource& source, const std::string& kind, std::size_t bucket,
            const torch::Tensor& held_N);
  std::size_t num_buckets() const { return shards_.layout().buckets().size(); }

  ShardedModel& model_;
  Shards& shards_;
  bool fused_;
  std::vector<Run> runs_;
  torch::Tensor exp_avg_, exp_avg_sq_, ema_;
  torch::Tensor snapshot_;  ///< on the host: what the last checkpoint was written from
};

}  // namespace microdit::train

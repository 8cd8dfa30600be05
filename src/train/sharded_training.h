// A module in training, as each rank holds it: layout, pieces, weights and gradients, optimizer.
#pragma once

#include "train/optimizer_state.h"

namespace microdit::train {

/// Each part knows those before it.
struct ShardedTraining {
  struct Options {
    std::string sharding = "grad_op";
    std::string scope = "world";
    std::int64_t ranks_per_node = 0;
    std::int64_t bucket_bytes = std::int64_t{160} << 20;
    ShardedModel::Options model{};  ///< but `full`, which `sharding` says
    OptimizerState::Options optimizer{};
  };
  /// Takes the module's parameters over. Collective.
  ShardedTraining(const torch::nn::Module& module, const std::vector<models::BlockModules>& blocks,
                  comm::Communicator& comm, const Options& options)
      : layout(module, blocks, comm.size(), options.bucket_bytes),
        shards(layout, comm, options.sharding, options.scope, options.ranks_per_node),
        model(shards, with_sharding(options)),
        optimizer(model, options.optimizer) {}

  FlatLayout layout;
  Shards shards;
  ShardedModel model;
  OptimizerState optimizer;

 private:
  static ShardedModel::Options with_sharding(const Options& options) {
    ShardedModel::Options of_model = options.model;
    of_model.full = options.sharding == "full";
    return of_model;
  }
};

}  // namespace microdit::train

// A module whose weights and gradients are flat buffers, and where they are while it computes: resident, or sharded and whole block by block
// (FSDP, Zhao et al. 2023; ZeRO, Rajbhandari et al. 2020).
#pragma once

#include <torch/nn/module.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/denoiser.h"
#include "train/shards.h"
#include "train/side_stream.h"

namespace torch::autograd {
struct Node;
}

namespace microdit::train {

/// Takes over the layout's parameters: they are views of the buffers from now on, and backward adds into the gradients'.
///
/// Sharding `full`: of a bucket of blocks a rank keeps its piece; before a block runs, forward or again in the backward pass, its bucket is
/// gathered into one of two slots (the next one's is already on its way), and its gradient is reduced as soon as its blocks have run. Else
/// all weights are resident, and a bucket's gradient is reduced as soon as its last parameter has its own. Either way in one order
/// on all ranks. Gradients are fp32 whatever the weights are. With several microbatches a step the gradients are whole until the last one (the sum over microbatches comes before the sum
/// over ranks, in every sharding: same bits).
class ShardedModel {
 public:
  struct Options {
    bool full = false;
    std::int64_t recompute_every = 0;  ///< 0: no block is run again, but all are in `full`; n: every n-th
    bool accumulates = false;          ///< several microbatches a step
    torch::Device device = torch::kCPU;
    /// Of the weights that the module computes with: fp32, or bf16, and then the masters are beside them.
    torch::ScalarType compute = torch::kFloat32;
  };
  ShardedModel(Shards& shards, const Options& options);
  ShardedModel(const ShardedModel&) = delete;
  ShardedModel& operator=(const ShardedModel&) = delete;

  /// For Denoiser::set_block_runner, while this object lives.
  models::BlockRunner block_runner();

  // A step: begin_step, then of each microbatch begin_microbatch, its loss, backward; finish_step.
  void begin_step();
  void begin_microbatch(bool is_last);
  /// The gradients' held pieces are the sums over ranks. Returns this rank's share of the squared norm.
  double finish_step();

  /// Held piece of a bucket, fp32: the weights that the optimizer changes, then publish()es; and their gradient.
  const torch::Tensor& master(std::size_t bucket) const { return masters_[bucket]; }
  const torch::Tensor& gradient(std::size_t bucket) const { return gradients_[bucket]; }
  /// The masters have changed: what computes with them follows, on every rank; on a GPU beside it, and each block waits for its own.
  void publish();

  /// Runs `work` while the module has, on every rank, all weights that `held(bucket)` has a piece of. An error of `work` is thrown
  /// after the others are back; when some rank has no memory for it, all throw SystemError. Collective.
  void with_weights(const std::function<torch::Tensor(std::size_t bucket)>& held,
                    const std::function<void()>& work);
  /// The present weights: `work` alone where they are resident.
  void with_own_weights(const std::function<void()>& work);
  /// Whether the module has all its weights between steps.
  bool is_whole() const { return !options_.full; }

  /// Bytes of this rank's buffers; masters where they are not the weights themselves.
  struct Bytes {
    std::int64_t weights = 0, masters = 0, gradients = 0;
  };
  Bytes bytes() const;
  Shards& shards() const { return shards_; }
  torch::Device device() const { return options_.device; }

 private:
  struct Slot {
    torch::Tensor values;
    std::int64_t bucket = -1;  ///< whose they are
    SideStream::Done done;     ///< of the last work beside
  };
  torch::Tensor run(std::int64_t block, const models::BlockFn& fn, const std::vector<torch::Tensor>& inputs);
  bool recomputes(std::int64_t block) const;
  bool is_sharded(std::size_t bucket) const;
  bool has_own_masters() const { return options_.compute != torch::kFloat32; }
  void place();
  torch::Tensor values_of(std::size_t bucket) const;
  void bind_gradients(std::size_t bucket);
  void add_hooks();
  torch::Tensor held_part(std::size_t bucket, const torch::Tensor& whole) const;
  void bind(std::size_t bucket, const torch::Tensor& weights);
  void wait_for_weights();
  void use_weights(std::size_t bucket);
  void fetch(std::size_t bucket);
  void fetch_beside(std::int64_t block, std::int64_t next);
  void begin_backward_of(std::int64_t block);
  void end_backward_of(std::int64_t block);
  void reduce(std::size_t bucket);
  void reduce_complete();
  double own_squares(std::size_t bucket) const;

  Shards& shards_;
  const Options options_;
  std::vector<torch::Tensor> parameters_;  ///< as the placements
  // By bucket. Whole where resident, else views of a slot.
  std::vector<torch::Tensor> weights_, whole_gradients_;
  std::vector<torch::Tensor> masters_, gradients_;  ///< held pieces
  std::vector<std::size_t> slot_of_;                ///< of sharded buckets
  std::array<Slot, 2> weight_slots_, gradient_slots_;
  std::vector<SideStream::Done> gathering_;  ///< of resident buckets
  SideStream side_;
  bool all_whole_ = false;  ///< in with_weights

  // Of the step.
  bool is_last_ = false;
  std::vector<std::int64_t> missing_;       ///< parameters of a bucket whose gradient is not complete
  std::vector<bool> reduced_;               ///< or on its way
  std::vector<std::size_t> order_;          ///< in which buckets are reduced
  std::size_t next_ = 0;                    ///< in order_
  std::vector<SideStream::Done> reducing_;  ///< by bucket
  std::vector<std::shared_ptr<torch::autograd::Node>> accumulators_;  ///< keep the hooks
};

}  // namespace microdit::train

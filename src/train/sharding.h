// Who holds which piece of the optimizer, and the collectives of a step. `none`: every rank holds all;
// `grad_op`: each rank holds 1/R of master weights, moments and average. Both do the same arithmetic in the
// same order: same bits.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"
#include "nn/kernels/adamw.h"
#include "nn/kernels/current_stream.h"
#include "train/flat_parameters.h"

namespace microdit::train {

class ShardedOptimizer {
 public:
  struct Options {
    bool shard_state = true;
    bool with_ema = false;
    bool fused = true;  ///< our kernel; else torch's operations
  };
  ShardedOptimizer(FlatParameters& flat, comm::Communicator& comm, const Options& options);

  /// Sums gradients over ranks (reduce-scatter, in rank order). Returns this rank's share of the squared
  /// norm.
  double reduce_gradients();
  /// Clip scale, AdamW and average over the held state, then the new weights on every rank.
  void update(const nn::AdamWStep& step);
  /// Sets the average to the weights (at the start, or before ema.start_step).
  void reset_ema();
  bool has_ema() const { return ema_.defined(); }

  /// This rank's parts for a checkpoint: its piece of weights, moments and average, copied.
  std::vector<checkpoint::Part> parts();
  /// Which of a checkpoint's tensors to take.
  struct Load {
    std::string weights = "weights";  ///< "weights" or "ema"
    bool moments = true;
    bool ema = true;  ///< else the average starts at the weights
  };
  void load(const checkpoint::Reader& reader, const Load& what);

  /// Puts the averaged weights into the module on every rank, runs `work`, puts the weights back. Nothing to swap without
  /// an average. Collective. An error of `work` is thrown after the weights are back; when some rank has no memory for
  /// the swap, all throw SystemError with the weights as they were.
  template <class Work>
  void with_average(const Work& work) {
    swap_in_average();
    try {
      work();
    } catch (...) {
      swap_out_average();
      throw;
    }
    swap_out_average();
  }

 private:
  struct Piece {
    std::int64_t flat_offset = 0;   ///< in the flat buffers
    std::int64_t state_offset = 0;  ///< in the state tensors
    std::int64_t count = 0;
  };
  Piece own_piece(const Bucket& bucket) const;
  void update_piece(const Piece& held, const nn::AdamWStep& step);
  void swap_in_average();
  void swap_out_average();
  void gather(torch::Tensor& flat_values, const torch::Tensor& state);
  void* stream() const { return nn::current_stream(flat_.weights().device()); }
  void check_model(const checkpoint::Reader& reader, const std::string& kind) const;
  /// Fills `pieces` of `values`, each at offset_of(piece), with what the checkpoint holds of `kind` there.
  template <class OffsetOf>
  void copy_in(const checkpoint::Reader& reader, const std::string& kind, const std::vector<Piece>& pieces,
               const OffsetOf& offset_of, torch::Tensor& values);

  FlatParameters& flat_;
  comm::Communicator& comm_;
  bool shard_state_;
  bool fused_;
  std::vector<Piece> held_;  ///< what the state tensors cover
  std::vector<Piece> own_;   ///< this rank's piece of each bucket (norm, reduce, checkpoint)
  torch::Tensor exp_avg_, exp_avg_sq_, ema_;
  torch::Tensor reduced_;   ///< scratch for one bucket's piece
  torch::Tensor kept_;      ///< the weights, while the average stands in for them
  torch::Tensor snapshot_;  ///< on the host: what the last checkpoint was written from
};

}  // namespace microdit::train

// Where every parameter of a module lies in flat buffers, and where those are cut. No buffers: numbers alone.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/denoiser.h"
#include "nn/parameter_role.h"

namespace microdit::train {

/// Where one parameter lies, in values.
struct Placement {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0;
  std::int64_t count = 0;
  nn::Role role = nn::Role::matrix;
};

/// What is reduced and gathered at once: values [offset, offset + count); count is a multiple of the number of ranks. Either whole blocks,
/// or parameters outside of the blocks.
struct Bucket {
  std::int64_t offset = 0;
  std::int64_t count = 0;
  std::int64_t first_block = -1;  ///< -1: outside of the blocks
  std::int64_t last_block = -1;
  std::size_t first_placement = 0, num_placements = 0;
  bool is_of_blocks() const { return first_block >= 0; }
};

class FlatLayout {
 public:
  /// `blocks`: as Denoiser::blocks. The module's parameters, each once, in its own order, but those of a block together. A bucket ends with a block, when it has `bucket_bytes` of fp32 at least; a
  /// parameter that several blocks use lies outside of them.
  FlatLayout(const torch::nn::Module& module, const std::vector<models::BlockModules>& blocks, int num_ranks,
             std::int64_t bucket_bytes);

  const std::vector<Placement>& placements() const { return placements_; }
  /// The parameters themselves, in the order of the placements.
  const std::vector<torch::Tensor>& parameters() const { return parameters_; }
  const std::vector<Bucket>& buckets() const { return buckets_; }
  std::size_t bucket_of_block(std::int64_t block) const {
    return bucket_of_block_[static_cast<std::size_t>(block)];
  }
  std::int64_t num_blocks() const { return std::ssize(bucket_of_block_); }
  std::int64_t total() const { return total_; }  ///< values, with padding
  std::int64_t num_parameters() const { return num_parameters_; }

 private:
  void cut(std::int64_t unit);

  std::vector<Placement> placements_;
  std::vector<torch::Tensor> parameters_;
  std::vector<Bucket> buckets_;
  std::vector<std::size_t> bucket_of_block_;
  std::int64_t total_ = 0;
  std::int64_t num_parameters_ = 0;
};

}  // namespace microdit::train

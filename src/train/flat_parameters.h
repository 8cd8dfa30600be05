// All parameters of a module as views of one flat fp32 buffer, their gradients as views of a second, cut into buckets.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <string>
#include <vector>

namespace microdit::train {

/// Where one parameter lies in the flat buffers.
struct Placement {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0;
  std::int64_t count = 0;
};

/// [offset, offset + count) of the flat buffers; count is a multiple of the number of ranks.
struct Bucket {
  std::int64_t offset = 0;
  std::int64_t count = 0;
};

/// Takes over a module's parameters: after construction they are views, and backward adds into the gradient
/// buffer.
class FlatParameters {
 public:
  /// Buckets hold at least `bucket_bytes` (the last one less); each divides by `num_ranks` in whole cache
  /// lines.
  FlatParameters(torch::nn::Module& module, int num_ranks, std::int64_t bucket_bytes, torch::Device device);

  const std::vector<Placement>& placements() const { return placements_; }
  const std::vector<Bucket>& buckets() const { return buckets_; }
  std::int64_t total() const { return weights_.numel(); }  ///< with padding
  std::int64_t num_parameters() const { return num_parameters_; }
  torch::Tensor& weights() { return weights_; }
  torch::Tensor& gradients() { return gradients_; }
  void zero_gradients() { gradients_.zero_(); }

 private:
  std::vector<Placement> placements_;
  std::vector<Bucket> buckets_;
  std::int64_t num_parameters_ = 0;
  torch::Tensor weights_;
  torch::Tensor gradients_;
};

}  // namespace microdit::train

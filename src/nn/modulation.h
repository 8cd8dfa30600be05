// Conditioning by shift, scale and gate (adaLN).
#pragma once

#include <memory>
#include <vector>

#include "nn/linear.h"

namespace microdit::nn {

/// The linear layer of adaLN, registered as "1": the original keeps it behind an activation, which callers
/// apply once for all blocks (`activate`).
class Modulation : public torch::nn::Module {
 public:
  Modulation(std::int64_t condition_dim, std::int64_t dim, std::int64_t num_parts);
  /// `num_parts` tensors [B, D].
  std::vector<torch::Tensor> forward(const torch::Tensor& activated_BD) const;
  static torch::Tensor activate(const torch::Tensor& condition_BD) { return at::gelu(condition_BD, "tanh"); }

 private:
  std::shared_ptr<Linear> linear_;
  std::int64_t num_parts_;
};

}  // namespace microdit::nn

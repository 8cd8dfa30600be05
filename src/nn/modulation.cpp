// adaLN's linear layer.
#include "nn/modulation.h"

namespace microdit::nn {

Modulation::Modulation(std::int64_t condition_dim, std::int64_t dim, std::int64_t num_parts)
    : num_parts_(num_parts) {
  linear_ = register_module("1", std::make_shared<Linear>(condition_dim, num_parts * dim, true));
}

std::vector<torch::Tensor> Modulation::forward(const torch::Tensor& activated_BD) const {
  return linear_->forward(activated_BD).chunk(num_parts_, 1);
}

}  // namespace microdit::nn

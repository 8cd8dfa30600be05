// Expert choice: routing in fp32, rows moved by index.
#include "nn/expert_choice.h"

#include <ATen/autocast_mode.h>

#include "nn/kernels/expert_rows.h"
#include "nn/kernels/matmul.h"

namespace microdit::nn {

ExpertChoice::ExpertChoice(std::int64_t dim, const ExpertSizes& sizes) : capacity_(sizes.capacity) {
  w1_ = register_parameter("w1", torch::empty({sizes.num_experts, dim, sizes.hidden}));
  w2_ = register_parameter("w2", torch::empty({sizes.num_experts, sizes.hidden, dim}));
  gate_ = register_module("gate", std::make_shared<Linear>(dim, sizes.num_experts));
}

torch::Tensor ExpertChoice::forward(const torch::Tensor& x_BTD) const {
  const std::int64_t num_tokens = x_BTD.size(1), num_experts = w1_.size(0);
  const auto taken = static_cast<std::int64_t>(capacity_ * static_cast<double>(num_tokens) /
                                               static_cast<double>(num_experts));
  const torch::Tensor probability_BTE = at::softmax(gate_->forward_fp32(x_BTD), -1);
  const auto [best_BEK, choice_BEK] = at::topk(probability_BTE.permute({0, 2, 1}), taken, -1);
  const torch::Tensor choice_EBK = choice_BEK.transpose(0, 1).contiguous();
  const bool autocast = at::autocast::is_autocast_enabled(x_BTD.device().type());
  const torch::Tensor x = autocast ? x_BTD : x_BTD.to(w1_.scalar_type());
  const torch::Tensor out_EMD = kernels::expert_mlp(kernels::gather_rows(x, choice_EBK), w1_, w2_);
  return kernels::combine_rows(out_EMD, best_BEK.transpose(0, 1), choice_EBK, num_tokens);
}

}  // namespace microdit::nn

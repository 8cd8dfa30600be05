// Choosing, keeping and restoring tokens.
#include "nn/masking.h"

#include "core/error.h"

namespace microdit::nn {

TokenChoice choose_tokens(const torch::Tensor& noise_BT, double ratio) {
  const std::int64_t num_tokens = noise_BT.size(1);
  const auto kept = static_cast<std::int64_t>(static_cast<double>(num_tokens) * (1 - ratio));
  if (kept < 1) core::user_error("mask_ratio: {} leaves none of the {} patches", ratio, num_tokens);
  const torch::Tensor order = at::argsort(noise_BT, /*stable=*/true, /*dim=*/1, /*descending=*/false);
  const torch::Tensor ids = order.narrow(1, 0, kept).contiguous();
  const torch::Tensor zeros = torch::zeros(noise_BT.sizes(), noise_BT.options().dtype(torch::kFloat));
  return {ids, zeros.scatter(1, ids, 1.0)};
}

torch::Tensor keep_tokens(const torch::Tensor& x_BTD, const torch::Tensor& ids_BK) {
  return x_BTD.gather(1, ids_BK.unsqueeze(-1).expand({-1, -1, x_BTD.size(2)}));
}

torch::Tensor restore_tokens(const torch::Tensor& x_BKD, const torch::Tensor& ids_BK,
                             const torch::Tensor& mask_token, std::int64_t num_tokens) {
  const torch::Tensor dropped =
      mask_token.to(x_BKD.scalar_type()).expand({x_BKD.size(0), num_tokens, x_BKD.size(2)});
  return dropped.scatter(1, ids_BK.unsqueeze(-1).expand({-1, -1, x_BKD.size(2)}), x_BKD);
}

}  // namespace microdit::nn

// Deferred masking: the backbone sees only some patches; the rest come back as a mask token.
#pragma once

#include <torch/types.h>

namespace microdit::nn {

struct TokenChoice {
  torch::Tensor ids_BK;   ///< kept tokens, lowest noise first
  torch::Tensor kept_BT;  ///< 1 kept, 0 dropped (fp32)
};

/// The int(T * (1 - ratio)) tokens with the lowest noise, ties in order. UserError when none is left.
TokenChoice choose_tokens(const torch::Tensor& noise_BT, double ratio);
/// [B, T, D] -> [B, K, D].
torch::Tensor keep_tokens(const torch::Tensor& x_BTD, const torch::Tensor& ids_BK);
/// [B, K, D] -> [B, T, D]; dropped places hold `mask_token` [1, 1, D].
torch::Tensor restore_tokens(const torch::Tensor& x_BKD, const torch::Tensor& ids_BK,
                             const torch::Tensor& mask_token, std::int64_t num_tokens);

}  // namespace microdit::nn

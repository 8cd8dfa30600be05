// Layers that the frozen text networks share. Matrices may be held in bf16; everything else is fp32.
#pragma once

#include <torch/nn/module.h>
#include <torch/utils.h>

#include <cstdint>
#include <memory>

namespace microdit::encoders {

/// [out, in], and a bias or none.
struct Linear {
  torch::Tensor weight, bias;
  torch::Tensor operator()(const torch::Tensor& x) const { return at::linear(x, weight, bias); }
};

struct LayerNorm {
  torch::Tensor weight, bias;
  double eps = 0;
  torch::Tensor operator()(const torch::Tensor& x) const {
    return at::layer_norm(x, {weight.size(0)}, weight, bias, eps);
  }
};

/// [B, L, H * d] -> [B, H, L, d].
inline torch::Tensor split_heads(const torch::Tensor& rows_BLD, std::int64_t heads) {
  return rows_BLD.view({rows_BLD.size(0), rows_BLD.size(1), heads, -1}).transpose(1, 2);
}
inline torch::Tensor join_heads(const torch::Tensor& rows_BHLd) {
  return rows_BHLd.transpose(1, 2).flatten(2);
}

}  // namespace microdit::encoders

// The meeting point of networks and objectives: diffusion knows a network only as this callable.
#pragma once

#include <torch/types.h>

#include <functional>
#include <utility>

namespace microdit::diffusion {

/// Text rows [B, L, D] and, where it is known, which of them are tokens (bool [B, L]).
struct TextRows {
  TextRows(torch::Tensor rows, torch::Tensor mask = {})
      : rows_BLD(std::move(rows)), mask_BL(std::move(mask)) {}
  torch::Tensor rows_BLD, mask_BL;
};

struct DenoiseInput {
  torch::Tensor x_BCHW;         ///< already scaled by c_in
  torch::Tensor noise_label_B;  ///< c_noise
  torch::Tensor text_BLD;
  double mask_ratio = 0;
  torch::Tensor mask_noise_BT{};  ///< undefined without a mask
  torch::Tensor text_mask_BL{};   ///< TextRows::mask_BL; undefined where it is not known
};
struct DenoiseOutput {
  torch::Tensor prediction_BCHW;
  torch::Tensor kept_BT;  ///< undefined without a mask
};
using DenoiseFn = std::function<DenoiseOutput(const DenoiseInput&)>;

/// Classifier-free guidance: one batch of the conditional and the null half (zero rows, none of them a token),
/// null + scale (cond - null). scale 1 returns `denoise` itself. Applied in one place only: sample().
DenoiseFn guided(DenoiseFn denoise, double scale);

}  // namespace microdit::diffusion

// The meeting point of networks and objectives: diffusion knows a network only as this callable.
#pragma once

#include <torch/types.h>

#include <functional>

namespace microdit::diffusion {

/// What a batch is conditioned on: whatever the model takes, undefined what it does not. "No condition" is a value like
/// any other, which the model supplies (models::Denoiser::null_like): zero text rows, a learned row, a class of its own.
struct Condition {
  torch::Tensor text_BLD{};      ///< text rows
  torch::Tensor text_mask_BL{};  ///< bool, the rows that are tokens; undefined where it is not known
  torch::Tensor class_B{};       ///< int64
  /// int64, with text_mask_BL, both on the CPU: what text rows are made of, before sampling or a loss begins (eval/denoise_fn.h);
  /// nothing here looks at it.
  torch::Tensor tokens_BL{};
};

struct DenoiseInput {
  torch::Tensor x_BCHW;         ///< already scaled by c_in
  torch::Tensor noise_label_B;  ///< c_noise
  Condition condition{};
  double mask_ratio = 0;
  torch::Tensor mask_noise_BT{};  ///< undefined without a mask
};
struct DenoiseOutput {
  torch::Tensor prediction_BCHW;
  torch::Tensor kept_BT;  ///< undefined without a mask
};
using DenoiseFn = std::function<DenoiseOutput(const DenoiseInput&)>;

/// Classifier-free guidance: one batch of the conditional half and that of `null`, which is of the same kind as the inputs'
/// conditions; null + scale (cond - null). Of the result the share `rescale` is brought to the conditional half's standard
/// deviation, sample by sample (Lin et al. 2023, eq. 15 and 16). scale 1 returns `denoise` itself. Applied in one place only:
/// sample().
DenoiseFn guided(DenoiseFn denoise, const Condition& null, double scale, double rescale = 0);

}  // namespace microdit::diffusion

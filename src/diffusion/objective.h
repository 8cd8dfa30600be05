// Path, prediction and loss (design section 4): Level{alpha, sigma}, x0 = a x_t + b F, loss on F* with weight 1 by default.
#pragma once

#include <torch/types.h>

#include <memory>
#include <string>

#include "core/config.h"
#include "diffusion/denoise_fn.h"

namespace microdit::diffusion {

struct ObjectiveConfig {
  std::string path = "edm";
  std::string prediction = "edm";
  double sigma_data = 0.9;  ///< the original's
  double p_mean = -0.6;     ///< log-normal sigma: ln sigma ~ N(p_mean, p_std^2)
  double p_std = 1.2;
  void fields(core::Fields& f);
};

/// What a time law is a function of.
enum class TimeDraw { normal, uniform };

/// Everything random about one batch, drawn by the caller by counter (so it depends on sample indices alone).
struct NoiseDraw {
  torch::Tensor time_B;         ///< of the law's own kind (Objective::time_draw), which it maps to a time
  torch::Tensor noise_BCHW;     ///< standard normal
  torch::Tensor mask_noise_BT;  ///< uniform; undefined without a mask
};

class Objective {
 public:
  explicit Objective(const ObjectiveConfig& config);
  const ObjectiveConfig& config() const { return config_; }
  /// What draw_noise is to draw for loss().
  TimeDraw time_draw() const { return TimeDraw::normal; }

  /// Mean loss over the batch, fp32 scalar. With mask_ratio > 0 the mean over kept patches per sample, then
  /// over samples. EDM (Karras et al. 2022, eq. 2 and table 1): lambda(sigma) |D - x0|^2 = |F - F*|^2.
  torch::Tensor loss(const DenoiseFn& denoise, const torch::Tensor& x0_BCHW, const Condition& condition,
                     const NoiseDraw& draw, double mask_ratio, std::int64_t patch_size) const;
  /// The same at given sigma [B].
  torch::Tensor loss_at(const DenoiseFn& denoise, const torch::Tensor& x0_BCHW, const Condition& condition,
                        const torch::Tensor& sigma_B, const torch::Tensor& noise_BCHW,
                        const torch::Tensor& mask_noise_BT, double mask_ratio, std::int64_t patch_size) const;
  /// Denoised estimate D(x; sigma): preconditioning around the network, fp32.
  torch::Tensor denoised(const DenoiseFn& denoise, const torch::Tensor& x_BCHW, const torch::Tensor& sigma_B,
                         const Condition& condition) const;

 private:
  ObjectiveConfig config_;
};

}  // namespace microdit::diffusion

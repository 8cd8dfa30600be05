// The loss of a network, and what its output says of x0: one algebra over Level{alpha, sigma} and Prediction{a, b}.
#pragma once

#include <torch/types.h>

#include "diffusion/denoise_fn.h"
#include "diffusion/path.h"
#include "diffusion/prediction.h"

namespace microdit::diffusion {

/// What a time law is a function of.
enum class TimeDraw { normal, uniform };

/// Everything random about one batch, drawn by the caller by counter (so it depends on sample indices alone).
struct NoiseDraw {
  torch::Tensor time_B;         ///< of the law's own kind (Objective::time_draw), which it maps to a time
  torch::Tensor noise_BCHW;     ///< standard normal
  torch::Tensor mask_noise_BT;  ///< uniform; undefined without a mask
};

/// The loss of a batch.
struct Losses {
  torch::Tensor mean;      ///< fp32 scalar, with graph
  torch::Tensor sample_B;  ///< of each sample, without graph: to look at
};

class Objective {
 public:
  /// UserError: a combination that is not legal.
  explicit Objective(const ObjectiveConfig& config);
  const ObjectiveConfig& config() const { return config_; }  ///< settled
  const Path& path() const { return path_; }
  /// What draw_noise is to draw for loss().
  TimeDraw time_draw() const;
  /// The time law: [B] as draw_noise gives it -> times, for latents of `side`. edm: fp32, else float64.
  torch::Tensor times(const torch::Tensor& draw_B, std::int64_t side) const;

  /// Mean over the batch of weight(t) * loss(F - F*), fp32 scalar. With mask_ratio > 0 the mean over kept patches per sample,
  /// then over samples. EDM (Karras et al. 2022, eq. 2 and table 1): lambda(sigma) |D - x0|^2 = |F - F*|^2.
  torch::Tensor loss(const DenoiseFn& denoise, const torch::Tensor& x0_BCHW, const Condition& condition,
                     const NoiseDraw& draw, double mask_ratio, std::int64_t patch_size) const;
  Losses losses(const DenoiseFn& denoise, const torch::Tensor& x0_BCHW, const Condition& condition,
                const NoiseDraw& draw, double mask_ratio, std::int64_t patch_size) const;
  /// The same at given times [B] (edm: sigma).
  torch::Tensor loss_at(const DenoiseFn& denoise, const torch::Tensor& x0_BCHW, const Condition& condition,
                        const torch::Tensor& time_B, const torch::Tensor& noise_BCHW,
                        const torch::Tensor& mask_noise_BT, double mask_ratio, std::int64_t patch_size) const;
  /// How much of the time law lies below each draw: in [0, 1), uniformly distributed; [B], float64.
  torch::Tensor shares(const torch::Tensor& draw_B) const;
  /// Estimate of x0 from x_t (float64) at one moment for the whole batch; float64. edm's preconditioning is fp32.
  torch::Tensor denoised(const DenoiseFn& denoise, const torch::Tensor& x_BCHW, const Moment& moment,
                         const Condition& condition) const;

 private:
  /// Prediction and network are EDM's: computed in the original's order of operations.
  bool is_edm() const { return config_.prediction == "edm"; }
  Losses losses_at(const DenoiseFn& denoise, const torch::Tensor& x0_BCHW, const Condition& condition,
                   const torch::Tensor& time_B, const torch::Tensor& noise_BCHW,
                   const torch::Tensor& mask_noise_BT, double mask_ratio, std::int64_t patch_size) const;
  torch::Tensor edm_error(const DenoiseFn& denoise, const torch::Tensor& x0, DenoiseInput& input,
                          const torch::Tensor& sigma_B, const torch::Tensor& noise,
                          torch::Tensor& kept) const;
  torch::Tensor error(const torch::Tensor& difference) const;
  torch::Tensor weight(const Levels& levels, const Prediction& f) const;

  ObjectiveConfig config_;
  Path path_;
};

}  // namespace microdit::diffusion

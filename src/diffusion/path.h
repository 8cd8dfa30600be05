// How noise is added: x_t = alpha x0 + sigma n, as a function of a time.
#pragma once

#include <torch/types.h>

#include "diffusion/objective_config.h"

namespace microdit::diffusion {

struct Level {
  double alpha = 1, sigma = 0;
  double ratio() const { return sigma / alpha; }  ///< noise to signal; EDM's sigma
};

/// The same of a batch, float64 [B].
struct Levels {
  torch::Tensor alpha_B, sigma_B;
};

/// A time and what it means. Along a grid several times may have one level, never one time two.
struct Moment {
  double time = 0;
  Level level{};
};

/// Times are: edm sigma itself; vp 0 ... T and betas 0 ... T - 1, between whole steps, too; flow 0 ... 1.
class Path {
 public:
  /// `config` is settled.
  explicit Path(const ObjectiveConfig& config);

  /// `time_B`: float64 [B].
  Levels at(const torch::Tensor& time_B) const;
  Moment moment(double time) const;
  /// Where the noise is `ratio` times the signal: paths vp and betas. Of betas by interpolation of ln ratio between steps, as
  /// diffusers has it.
  Moment moment_of_ratio(double ratio) const;
  /// The noisiest time.
  double last_time() const;
  /// flow: u in [0, 1] to the time, and back, for latents of `side`.
  double shifted(double u, std::int64_t side) const;
  double unshifted(double time, std::int64_t side) const;
  double shift(std::int64_t side) const;

  /// What the network is told of the time (c_noise), and the scale of what it sees (c_in); float64 [B].
  torch::Tensor noise_label(const torch::Tensor& time_B) const;
  torch::Tensor input_scale(const Levels& levels) const;

 private:
  torch::Tensor gamma(const torch::Tensor& time_B) const;

  ObjectiveConfig config_;
  Family::Kind kind_;
  torch::Tensor gammas_T_;       ///< betas: products of 1 - beta, rounded to fp32 as diffusers has them
  mutable torch::Tensor there_;  ///< the same on the device of the last times that were not on the CPU
};

}  // namespace microdit::diffusion

// The `objective:` section of a config: path, prediction, time law, loss.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/config.h"
#include "diffusion/families.h"
#include "diffusion/noise_schedule.h"

namespace microdit::diffusion {

struct ObjectiveConfig {
  std::string path = "edm";
  std::string prediction = "edm";
  double sigma_data = 0.9;  ///< the original's
  double p_mean = -0.6;     ///< log-normal sigma: ln sigma ~ N(p_mean, p_std^2)
  double p_std = 1.2;
  std::int64_t num_timesteps =
      1000;  ///< T: vp has the times 0 ... T, betas 0 ... T - 1; flow's noise label is T t
  // Gamma schedules (Chen 2023); not a number: the schedule's own (settled()).
  double gamma_start = std::numeric_limits<double>::quiet_NaN();
  double gamma_end = std::numeric_limits<double>::quiet_NaN();
  double gamma_tau = std::numeric_limits<double>::quiet_NaN();
  double gamma_clip = 1e-9;  ///< the smallest gamma
  double beta_start = 1e-4;  ///< of DDPM's linear and scaled_linear
  double beta_end = 0.02;
  double shift = 1;  ///< flow: t = s u / (1 + (s - 1) u) (Esser et al. 2024, eq. 23)
  std::int64_t shift_side =
      0;  ///< latent side at which `shift` is as given: at side n it is shift n / shift_side; 0 = everywhere
  std::string time_law = "auto";  ///< auto = the path's own
  double logit_mean = 0;
  double logit_std = 1;
  std::string loss = "mse";                   ///< mse | l1 | smooth_l1 | huber of F - F*
  double loss_delta = 1;                      ///< where smooth_l1 and huber turn from squares to lines
  std::string weight = "one";                 ///< one | min_snr (Hang et al. 2023) | edm
  double snr_gamma = 5;                       ///< of min_snr
  std::shared_ptr<NoiseSchedule> schedule{};  ///< of a path that is not ours
  void fields(core::Fields& f);

  const Family& family() const { return family_of(path); }

 private:
  void path_fields(core::Fields& f);
};

/// With the path's own time law and gammas filled in. UserError: a combination that is not legal, with those that are.
ObjectiveConfig settled(ObjectiveConfig config);
/// The keys of the schedules that are not ours, for --help.
std::string describe_schedules();

}  // namespace microdit::diffusion

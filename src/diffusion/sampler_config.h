// The sampler's keys: which rule, on which grid, with what on the way.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "diffusion/objective_config.h"

namespace microdit::diffusion {

/// EDM's names and defaults are the original's (Karras et al. 2022, algorithm 2).
struct SamplerConfig {
  std::string rule = "auto";  ///< a column of the table in families.cpp; auto = the path's first
  std::int64_t steps = 30;
  double guidance = 5.0;
  double sigma_min = 0.002;
  double sigma_max = 80;
  double rho = 7;
  double s_churn = 0;
  double s_min = 0;
  double s_max = 1e9;  ///< "infinity"
  double s_noise = 1;
  std::string grid = "auto";    ///< auto = the rule's own
  double eta = 0;               ///< of ddim: 0 = no noise on the way, 1 = ddpm
  double clip_x0 = 0;           ///< estimates of x0 are cut to +- this; 0 = not
  double max_time = 0;          ///< where the grid begins; 0 = the path's end
  double guidance_rescale = 0;  ///< Lin et al. 2023, section 3.4
  double guidance_min =
      0;  ///< noise-to-signal ratios above which, and up to which, guidance acts (Kynkäänniemi et al. 2024)
  double guidance_max = 1e9;
  std::vector<std::string> given =
      {};  ///< keys that were read, not left at their defaults; {"all"}: every one; no key
  void fields(core::Fields& f);
  /// The same without a prefix (steps=), or with it (sampler.steps=).
  void fields_at_top(core::Fields& f);
  /// What is not given is `own`'s, but for `steps`. A rule that is given brings its own grid and noise, a grid its own rho, and
  /// guidance its own interval and rescaling.
  SamplerConfig over(const SamplerConfig& own) const;
};

/// With the rule named. UserError: a rule or grid that does not go with the objective's path (with those that do), a key
/// without effect. `section`: where the keys stand.
SamplerConfig settled(SamplerConfig config, const ObjectiveConfig& objective,
                      const char* section = "sampler");

/// What the user-facing names of rules stand for.
struct StepRule {
  enum class Kind { first, heun, dpmpp_2m } kind = Kind::first;
  double eta = 0;          ///< of `first`
  bool from_unit = false;  ///< the start is the unit noise itself, not sigma times it
  std::string grid;
  int evaluations = 1;  ///< of the network, per step
};
/// `config` is settled.
StepRule step_rule(const SamplerConfig& config, const ObjectiveConfig& objective);

}  // namespace microdit::diffusion

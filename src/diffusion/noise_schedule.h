// A noise schedule of one's own: how much of the picture is left at a time (docs/extending.md).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"

namespace at {
class Tensor;
}

namespace microdit::diffusion {

/// x_t = alpha x0 + sigma n with alpha^2 + sigma^2 = 1. Its path has the predictions, time laws, rules and grids of vp_*.
class NoiseSchedule {
 public:
  virtual ~NoiseSchedule() = default;
  /// Its keys below `objective:`, under names that ours do not have.
  virtual void fields(core::Fields& f) = 0;
  /// alpha^2 at the times u = t / T: float64 [N] in [0, 1] -> float64 [N] on the same device, falling from (nearly) 1 at 0 to
  /// (nearly) 0 at 1. What is below `gamma_clip` becomes it.
  virtual at::Tensor alpha_squared(const at::Tensor& u_N) const = 0;
};

struct ScheduleKind {
  std::string name;                                          ///< what stands behind `path:`
  std::function<std::shared_ptr<NoiseSchedule>()> schedule;  ///< with its keys at their defaults
};

/// The schedules beside ours. A hook that is filled when a program is linked, as models::more_denoisers is.
std::vector<ScheduleKind> more_schedules();

/// Of more_schedules(); null where `path` is none of them.
const ScheduleKind* more_schedule(std::string_view path);
/// What is wrong with names beside those of `ours`: a name that is taken, twice there, or none. "" where nothing is.
std::string schedules_fault(const std::vector<ScheduleKind>& schedules, std::vector<std::string> ours);
/// UserError: alpha_squared() is not what it promises, with the first time where.
void check_schedule(const NoiseSchedule& schedule, const std::string& path);

}  // namespace microdit::diffusion

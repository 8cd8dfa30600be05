// Schedules that a program was linked with, and what is demanded of them.
#include "diffusion/noise_schedule.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "core/error.h"

namespace microdit::diffusion {

const ScheduleKind* more_schedule(std::string_view path) {
  static const std::vector<ScheduleKind> schedules = more_schedules();  // what was linked does not change
  const auto found = std::ranges::find(schedules, path, &ScheduleKind::name);
  return found == schedules.end() ? nullptr : &*found;
}

std::string schedules_fault(const std::vector<ScheduleKind>& schedules, std::vector<std::string> ours) {
  for (const ScheduleKind& one : schedules) {
    if (one.name.empty() || !one.schedule)
      return "one of the noise schedules that this program was built with has no name or makes nothing";
    if (std::ranges::find(ours, one.name) != ours.end())
      return fmt::format(
          "this program was built with two noise schedules called \"{}\"; rename one (its ScheduleKind)",
          one.name);
    ours.push_back(one.name);
  }
  return "";
}

void check_schedule(const NoiseSchedule& schedule, const std::string& path) {
  constexpr std::int64_t kTimes = 1001;
  const torch::Tensor u = torch::linspace(0, 1, kTimes, torch::kDouble), gamma = schedule.alpha_squared(u);
  if (!gamma.defined() || gamma.sizes() != u.sizes() || gamma.scalar_type() != torch::kDouble)
    core::user_error("objective.path: \"{}\": alpha_squared() of float64 {} is {}; it must be the same", path,
                     c10::str(u.sizes()),
                     gamma.defined()
                         ? fmt::format("{} {}", c10::toString(gamma.scalar_type()), c10::str(gamma.sizes()))
                         : "undefined");
  const double* values = gamma.contiguous().data_ptr<double>();
  for (std::int64_t i = 0; i < kTimes; ++i) {
    const double value = values[i], before = i > 0 ? values[i - 1] : 1;
    if (!(value >= 0 && value <= before))
      core::user_error(
          "objective.path: \"{}\": alpha_squared({:g}) is {:g}; it must fall from 1 to 0 and never rise "
          "({:g} at the time before)",
          path, static_cast<double>(i) / static_cast<double>(kTimes - 1), value, before);
  }
  if (!(values[0] > 0.9) || !(values[kTimes - 1] < 0.1))
    core::user_error(
        "objective.path: \"{}\": alpha_squared() goes from {:g} to {:g}; it must begin above 0.9 (a picture) "
        "and end below 0.1 (noise)",
        path, values[0], values[kTimes - 1]);
}

}  // namespace microdit::diffusion

// No schedules beside ours. Alone in its object, so that a program that was given some is linked without it.
#include "diffusion/noise_schedule.h"

namespace microdit::diffusion {

std::vector<ScheduleKind> more_schedules() {
  return {};
}

}  // namespace microdit::diffusion

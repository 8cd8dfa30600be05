// A noise schedule of one's own: alpha^2 falls along a hyperbolic tangent, steep in the middle and flat at both ends.
#include <diffusion/noise_schedule.h>
#include <torch/types.h>

#include <cmath>

using namespace microdit;

namespace own {
namespace {

struct TanhSchedule : diffusion::NoiseSchedule {
  double steepness = 3;

  void fields(core::Fields& f) override {
    f.field("steepness", steepness,
            {.min = 0.1, .max = 20, .help = "tanh: near 0 a straight line, above 10 nearly a step"});
  }
  torch::Tensor alpha_squared(const torch::Tensor& u_N) const override {
    const double end = std::tanh(steepness);
    return (0.5 * (1 - (steepness * (2 * u_N - 1)).tanh() / end)).clamp(0, 1);
  }
};

}  // namespace

/// Named in CMakeLists.txt: microdit_programs(... SCHEDULES own::tanh_schedule).
diffusion::ScheduleKind tanh_schedule() {
  return {.name = "tanh", .schedule = [] { return std::make_shared<TanhSchedule>(); }};
}

}  // namespace own

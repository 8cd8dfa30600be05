// Noise schedules beside ours: what is demanded of them. One that is linked in: tests/jobs/extending_test.py.
#include "diffusion/noise_schedule.h"

#include <gtest/gtest.h>
#include <torch/utils.h>

#include "core/error.h"
#include "diffusion/exact_gaussian.h"

namespace microdit::diffusion {
namespace {

using Curve = std::function<torch::Tensor(const torch::Tensor&)>;

class Drawn : public NoiseSchedule {
 public:
  explicit Drawn(Curve curve) : curve_(std::move(curve)) {}
  void fields(core::Fields&) override {}
  torch::Tensor alpha_squared(const torch::Tensor& u) const override { return curve_(u); }

 private:
  Curve curve_;
};

std::string refused(const Curve& curve) {
  try {
    check_schedule(Drawn(curve), "mine");
  } catch (const core::UserError& error) {
    return error.what();
  }
  return "";
}

TEST(NoiseSchedule, MustFallFromAPictureToNoise) {
  using torch::Tensor;
  EXPECT_EQ(refused([](const Tensor& u) { return 1 - u; }), "");
  const auto says = [](const Curve& curve, const char* what) {
    const std::string said = refused(curve);
    EXPECT_NE(said.find(what), std::string::npos) << said;
    EXPECT_NE(said.find("\"mine\""), std::string::npos) << said;
  };
  says([](const Tensor& u) { return u; }, "alpha_squared(0.001) is 0.001");
  says([](const Tensor& u) { return 1 - u + 0.1 * (20 * u).sin().clamp_min(0); }, "never rise");
  says([](const Tensor& u) { return 1 - 2 * u; }, "alpha_squared(0.501)");
  says([](const Tensor& u) { return 1 - 0.5 * u; }, "end below 0.1");
  says([](const Tensor& u) { return 0.5 * (1 - u); }, "begin above 0.9");
  says([](const Tensor& u) { return (1 - u).log().clamp(0, 1) / 0; }, "nan");
  says([](const Tensor& u) { return (1 - u).to(torch::kFloat); }, "must be the same");
  says([](const Tensor& u) { return (1 - u).slice(0, 1); }, "must be the same");
  says([](const Tensor&) { return Tensor(); }, "undefined");
}

/// The path of a config may be one of its own making: with our linear schedule's curve it is our linear schedule.
TEST(NoiseSchedule, IsAPathLikeOurs) {
  ObjectiveConfig ours{.path = "vp_linear", .prediction = "eps"}, theirs = ours;
  theirs.schedule = std::make_shared<Drawn>([](const torch::Tensor& u) { return (1 - u).square(); });
  const Objective a(ours), b(theirs);
  EXPECT_DOUBLE_EQ(a.path().moment(500).level.alpha, std::sqrt(0.5));
  EXPECT_DOUBLE_EQ(b.path().moment(500).level.alpha, 0.5);
  EXPECT_NEAR(b.path().moment_of_ratio(std::sqrt(3.0)).time, 500, 1e-6);
  SamplerConfig sampler;
  sampler.rule = "ddim";
  sampler.steps = 200;
  sampler.guidance = 1;
  const Gaussian found = sampled_gaussian(b, sampler);
  EXPECT_NEAR(found.mean, Gaussian{}.mean, 0.03);
  EXPECT_NEAR(found.std, Gaussian{}.std, 0.045);
}

TEST(NoiseSchedule, NamesAreThereOnce) {
  const auto kind = [](std::string name) {
    return ScheduleKind{.name = std::move(name), .schedule = [] { return std::make_shared<Drawn>(nullptr); }};
  };
  const std::vector<std::string> ours = {"edm", "flow"};
  EXPECT_EQ(schedules_fault({kind("a"), kind("b")}, ours), "");
  EXPECT_NE(schedules_fault({kind("a"), kind("a")}, ours).find("two noise schedules called \"a\""),
            std::string::npos);
  EXPECT_NE(schedules_fault({kind("flow")}, ours).find("\"flow\""), std::string::npos);
  EXPECT_NE(schedules_fault({kind("")}, ours), "");
}

}  // namespace
}  // namespace microdit::diffusion

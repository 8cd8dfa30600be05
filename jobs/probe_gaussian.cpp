// probe gaussian: whether a path, with all that goes with it, leads from noise to data whose best network is known.
#include <cmath>

#include "diffusion/exact_gaussian.h"
#include "probe.h"

namespace microdit::jobs {
namespace {

/// The section `objective`, whose prediction need not be given: all of the path's are tried.
struct PathConfig {
  diffusion::ObjectiveConfig config;

  void fields(core::Fields& f) {
    f.field("path", config.path);
    if (!f.given("prediction")) config.prediction = diffusion::family_of(config.path).predictions.front();
    config.fields(f);
  }
};

struct GaussianConfig {
  PathConfig objective;

  void fields(core::Fields& f) { f.section("objective", objective); }
};

/// Standard errors are .006 and .0045, the rest the coarseness of so many steps on ours.
constexpr double kMeanOff = 0.03, kStdOff = 0.045;

}  // namespace

int probe_gaussian(Job& job) {
  if (!job.line.config.empty())
    core::user_error("probe gaussian: takes objective.KEY=value words alone, no --config");
  const diffusion::ObjectiveConfig given = load_words<GaussianConfig>(job).objective.config;
  const diffusion::Gaussian data;
  const diffusion::Family& family = given.family();
  std::vector<std::string> off;
  for (const std::string& prediction : family.predictions) {
    diffusion::ObjectiveConfig config = given;
    config.prediction = prediction;
    const diffusion::Objective objective(config);
    for (const std::string& rule : family.rules) {
      const bool second = rule == "heun" || rule == "dpmpp_2m";
      const diffusion::SamplerConfig sampler{.rule = rule, .steps = second ? 60 : 200, .guidance = 1};
      const diffusion::Gaussian found = diffusion::sampled_gaussian(objective, sampler, data);
      const bool good =
          std::abs(found.mean - data.mean) < kMeanOff && std::abs(found.std - data.std) < kStdOff;
      fmt::print("{} {:<8} {:<9} {:>3} steps: mean {:.4f} of {}, deviation {:.4f} of {}{}\n", config.path,
                 prediction, rule, sampler.steps, found.mean, data.mean, found.std, data.std,
                 good ? "" : "  OFF");
      if (!good) off.push_back(prediction + " " + rule);
    }
  }
  if (!off.empty())
    core::user_error(
        "objective.path: \"{}\" does not lead back to the data with {} of its combinations (first: {}): does "
        "alpha^2 come "
        "close to 1 at the first time and to 0 at the last?",
        given.path, off.size(), off.front());
  return core::kDone;
}

}  // namespace microdit::jobs

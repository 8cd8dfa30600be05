// The table of legal combinations.
#include "diffusion/families.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "diffusion/noise_schedule.h"

namespace microdit::diffusion {
namespace {

/// The schedules that this program was linked with are paths like vp_*.
std::vector<Family> with_more(std::vector<Family> families) {
  Family& vp = *std::ranges::find(families, Family::Kind::vp, &Family::kind);
  for (const ScheduleKind& one : more_schedules()) vp.paths.push_back(one.name);
  return families;
}

}  // namespace

const std::vector<Family>& families() {
  static const std::vector<std::string> kSteps = {"ddim",     "euler", "ddpm",     "heun",
                                                  "dpmpp_2m", "first", "ancestral"};
  static const std::vector<Family> kFamilies = with_more({
      {Family::Kind::edm,
       {"edm"},
       {"edm", "eps", "x0"},
       {"log_normal"},
       {"heun", "first", "euler", "ancestral", "dpmpp_2m"},
       {"karras"}},
      {Family::Kind::vp,
       {"vp_linear", "vp_cosine", "vp_sigmoid"},
       {"eps", "v", "x0"},
       {"uniform_discrete", "uniform", "logit_normal"},
       kSteps,
       {"linspace", "uniform", "leading", "trailing", "karras"}},
      {Family::Kind::betas,
       {"linear", "scaled_linear", "squaredcos_cap_v2"},
       {"eps", "v", "x0"},
       {"uniform_discrete"},
       kSteps,
       {"leading", "linspace", "uniform", "trailing", "karras"}},
      {Family::Kind::flow,
       {"flow"},
       {"velocity", "x0"},
       {"uniform", "uniform_discrete", "logit_normal"},
       {"euler", "heun", "dpmpp_2m", "first", "ancestral"},
       {"shifted", "uniform", "trailing"}},
  });
  return kFamilies;
}

// What diffusers' schedulers take where nothing is said, and nano-diffusion's DDIM on the gamma schedules.
std::string Family::own_grid(std::string_view rule) const {
  if (is(Kind::edm) || is(Kind::flow)) return grids.front();
  if (rule == "euler" || rule == "heun") return "uniform";
  return rule == "dpmpp_2m" ? "linspace" : grids.front();
}

std::vector<std::string> all_names(std::vector<std::string> Family::*column) {
  std::vector<std::string> names;
  for (const Family& family : families())
    for (const std::string& name : family.*column)
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  return names;
}

const Family& family_of(const std::string& path) {
  for (const Family& family : families())
    if (std::ranges::find(family.paths, path) != family.paths.end()) return family;
  core::user_error("objective.path: \"{}\" is unknown; there is: {}", path,
                   fmt::join(all_names(&Family::paths), ", "));
}

std::string illegal(const Family& family, std::vector<std::string> Family::*column, std::string_view what,
                    const std::string& name, const std::string& path) {
  const std::vector<std::string>& legal = family.*column;
  if (std::ranges::find(legal, name) != legal.end()) return {};
  return fmt::format("{} \"{}\" does not go with path \"{}\"; there is: {}", what, name, path,
                     fmt::join(legal, ", "));
}

}  // namespace microdit::diffusion

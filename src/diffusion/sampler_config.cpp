// Names of rules, and which keys belong to which.
#include "diffusion/sampler_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "core/error.h"

namespace microdit::diffusion {
namespace {

/// A key that another sampler hands on, unless it or the one that it hangs on is given anew.
struct Key {
  std::string_view name, hangs_on;
};
constexpr Key kKeys[] = {{"rule", ""},
                         {"grid", "rule"},
                         {"rho", "grid"},
                         {"eta", "rule"},
                         {"s_churn", "rule"},
                         {"s_min", "rule"},
                         {"s_max", "rule"},
                         {"s_noise", "rule"},
                         {"sigma_min", ""},
                         {"sigma_max", ""},
                         {"max_time", ""},
                         {"clip_x0", ""},
                         {"guidance", ""},
                         {"guidance_rescale", "guidance"},
                         {"guidance_min", "guidance"},
                         {"guidance_max", "guidance"}};

}  // namespace

void SamplerConfig::fields(core::Fields& f) {
  std::vector<std::string> rules = all_names(&Family::rules), grids = all_names(&Family::grids);
  rules.insert(rules.begin(), "auto");
  grids.insert(grids.begin(), "auto");
  f.field("rule", rule,
          {.choices = rules, .help = "auto: heun for the path edm, ddim for vp_* and betas, euler for flow"});
  f.field("steps", steps, {.min = 1, .max = 10000});
  f.field("guidance", guidance, {.min = 1, .help = "classifier-free guidance; 1 = none"});
  f.field("sigma_min", sigma_min, {.min = 0, .exclusive_min = true, .help = "the path edm: the grid's end"});
  f.field("sigma_max", sigma_max,
          {.min = 0, .exclusive_min = true, .help = "the path edm: the grid's begin"});
  f.field("rho", rho, {.min = 0, .exclusive_min = true, .help = "of the grid karras"});
  f.field("s_churn", s_churn, {.min = 0, .help = "the path edm: noise that heun and euler add on the way"});
  f.field("s_min", s_min, {.min = 0, .help = "s_churn: the least sigma at which noise is added"});
  f.field("s_max", s_max, {.min = 0, .help = "s_churn: the greatest one"});
  f.field("s_noise", s_noise, {.min = 0, .help = "s_churn: the added noise's deviation"});
  // Printed only where they say something: what was painted before there were these keys is the same call still.
  const auto younger = [&](const char* name, auto& value, const auto& standard, const core::FieldRule& rule) {
    if (f.reading() || value != standard) f.field(name, value, rule);
  };
  const SamplerConfig standard;
  younger("grid", grid, standard.grid, {.choices = grids, .help = "the times; auto: the rule's own"});
  younger("eta", eta, standard.eta, {.min = 0, .max = 1, .help = "ddim: noise on the way; 1 = ddpm"});
  younger("clip_x0", clip_x0, standard.clip_x0, {.min = 0, .help = "cut estimates of x0 to +- this; 0 = no"});
  younger("max_time", max_time, standard.max_time,
          {.min = 0, .help = "the last usable time, where the grid begins (not edm); 0 = the path's end"});
  younger("guidance_rescale", guidance_rescale, standard.guidance_rescale,
          {.min = 0,
           .max = 1,
           .help = "share of the guided prediction brought to the conditional one's deviation"});
  younger("guidance_min", guidance_min, standard.guidance_min,
          {.min = 0, .help = "guidance acts above this noise-to-signal ratio (edm: sigma)"});
  younger("guidance_max", guidance_max, standard.guidance_max, {.min = 0, .help = "... and up to this one"});
  for (const Key& key : kKeys)
    if (f.given(key.name)) given.emplace_back(key.name);
  if (f.given("steps")) given.emplace_back("steps");
  if (s_min > s_max) f.error("s_min", "must not be above s_max");
  if (sigma_min >= sigma_max) f.error("sigma_min", "must be below sigma_max");
  if (guidance_min >= guidance_max) f.error("guidance_min", "must be below guidance_max");
}

void SamplerConfig::fields_at_top(core::Fields& f) {
  const core::Json before = core::to_json(*this);
  fields(f);
  if (!f.given("sampler")) return;
  const core::Json plain = core::to_json(*this);
  f.section("sampler", *this);
  const core::Json both = core::to_json(*this);
  for (const auto& [key, value] : plain.items())
    if (value != before.value(key, core::Json()) && value != both.value(key, core::Json()))
      f.error(key, "is given with the prefix `sampler.` and without it, and the values differ");
}

SamplerConfig SamplerConfig::over(const SamplerConfig& own) const {
  const core::Json theirs = core::to_json(own);
  core::Json all = core::to_json(*this);
  for (Key key : kKeys) {
    const std::string name(key.name);
    const auto is_given = [&](std::string_view one) {
      return std::ranges::find(given, one) != given.end() || given == std::vector<std::string>{"all"};
    };
    bool kept = is_given(key.name);
    while (!kept && !key.hangs_on.empty()) {
      key = *std::ranges::find(kKeys, key.hangs_on, &Key::name);
      kept = is_given(key.name);
    }
    if (kept) continue;
    all.erase(name);  // a key that is not printed is at its default
    if (theirs.contains(name)) all[name] = theirs[name];
  }
  return core::load<SamplerConfig>(core::ConfigTree::of_json(all, "the sampler's keys"));
}

SamplerConfig settled(SamplerConfig c, const ObjectiveConfig& objective, const char* section) {
  const Family& family = objective.family();
  if (c.rule == "auto") c.rule = family.rules.front();
  const auto refuse = [section](const char* key, const std::string& message) {
    if (!message.empty()) core::user_error("{}.{}: {}", section, key, message);
  };
  refuse("rule", illegal(family, &Family::rules, "rule", c.rule, objective.path));
  if (c.grid != "auto") refuse("grid", illegal(family, &Family::grids, "grid", c.grid, objective.path));
  const SamplerConfig standard;
  const auto belongs = [&](const char* key, bool is_set, bool applies, const char* to) {
    if (is_set && !applies)
      refuse(key, fmt::format("has no effect with path \"{}\" and rule \"{}\"; it belongs to {}",
                              objective.path, c.rule, to));
  };
  const bool edm = family.is(Family::Kind::edm),
             first = c.rule == "first" || c.rule == "ddim" || c.rule == "euler";
  belongs("eta", c.eta > 0, first, "the rules ddim, euler and first");
  belongs("s_churn", c.s_churn > 0, edm && (first || c.rule == "heun"),
          "the path edm with the rules heun, euler and first");
  for (const auto& [key, is_set] :
       {std::pair{"s_min", c.s_min != standard.s_min}, std::pair{"s_max", c.s_max != standard.s_max},
        std::pair{"s_noise", c.s_noise != standard.s_noise}})
    belongs(key, is_set, c.s_churn > 0, "s_churn above 0");
  belongs("sigma_min", c.sigma_min != standard.sigma_min, edm, "the path edm");
  belongs("sigma_max", c.sigma_max != standard.sigma_max, edm, "the path edm");
  belongs("max_time", c.max_time > 0, !edm, "the other paths (edm has sigma_max)");
  const std::string grid = step_rule(c, objective).grid;
  belongs("rho", c.rho != standard.rho, grid == "karras", "the grid karras");
  belongs("guidance_rescale", c.guidance_rescale > 0, c.guidance > 1, "guidance above 1");
  belongs("guidance_min", c.guidance_min > 0, c.guidance > 1, "guidance above 1");
  belongs("guidance_max", c.guidance_max != standard.guidance_max, c.guidance > 1, "guidance above 1");
  return c;
}

StepRule step_rule(const SamplerConfig& c, const ObjectiveConfig& objective) {
  const Family& family = objective.family();
  StepRule rule;
  rule.grid = c.grid == "auto" ? family.own_grid(c.rule) : c.grid;
  rule.eta = c.rule == "ddpm" || c.rule == "ancestral" ? 1 : c.eta;
  if (c.rule == "heun") {
    rule.kind = StepRule::Kind::heun;
    rule.evaluations = 2;
  }
  if (c.rule == "dpmpp_2m") rule.kind = StepRule::Kind::dpmpp_2m;
  // Where alpha^2 + sigma^2 = 1, unit noise is what lies at the end. Those who think in sigma / alpha begin at sigma times the noise, as if the data's
  // part were nothing; on the grid "leading" they, too, count it.
  const bool in_sigma = (c.rule == "euler" || c.rule == "heun") && rule.grid != "leading";
  rule.from_unit = family.is(Family::Kind::flow) || (!family.is(Family::Kind::edm) && !in_sigma);
  return rule;
}

}  // namespace microdit::diffusion

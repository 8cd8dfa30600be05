// Keys of the objective: what each belongs to, and which values go together.
#include "diffusion/objective_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace microdit::diffusion {
namespace {

const core::FieldRule kPositive{.min = 0, .exclusive_min = true};

core::FieldRule positive(std::string help) {
  core::FieldRule rule = kPositive;
  rule.help = std::move(help);
  return rule;
}

/// Fills in what the path has of its own.
void complete(ObjectiveConfig& c) {
  const auto own = [](double& value, double standard) {
    if (std::isnan(value)) value = standard;
  };
  const bool sigmoid = c.path == "vp_sigmoid";  // nano-diffusion's defaults
  own(c.gamma_start, sigmoid ? 0 : 0.2);
  own(c.gamma_end, sigmoid ? 3 : 1);
  own(c.gamma_tau, sigmoid ? 0.7 : 2);
  if (const ScheduleKind* more = more_schedule(c.path); more != nullptr && !c.schedule)
    c.schedule = more->schedule();
  if (c.time_law == "auto") c.time_law = c.family().time_laws.front();
}

/// What is wrong with the combination, by key.
std::vector<std::pair<std::string, std::string>> faults(const ObjectiveConfig& c) {
  const Family& family = c.family();
  std::vector<std::pair<std::string, std::string>> found;
  const auto add = [&](const char* key, std::string message) {
    if (!message.empty()) found.emplace_back(key, std::move(message));
  };
  add("prediction", illegal(family, &Family::predictions, "prediction", c.prediction, c.path));
  add("time_law", illegal(family, &Family::time_laws, "time law", c.time_law, c.path));
  if (c.beta_start >= c.beta_end) add("beta_start", "must be below beta_end");
  if (c.gamma_start >= c.gamma_end) add("gamma_start", "must be below gamma_end");
  if (c.path == "vp_cosine" && (c.gamma_start < 0 || c.gamma_end > 1))
    add("gamma_start", "vp_cosine: gamma_start and gamma_end must lie in [0, 1], a quarter of a turn");
  const bool reaches_data = family.is(Family::Kind::vp) || family.is(Family::Kind::flow);
  if (c.weight == "edm" && c.prediction == "x0" && reaches_data)
    add("weight",
        fmt::format("edm's is infinite on x0 where path \"{}\" ends without noise; with prediction x0 "
                    "there is: one, min_snr",
                    c.path));
  return found;
}

std::string paths_fault() {
  std::vector<std::string> ours;  // the schedules that are not ours are the last of theirs
  for (const Family& family : families()) ours.insert(ours.end(), family.paths.begin(), family.paths.end());
  const std::vector<ScheduleKind> more = more_schedules();
  for (const ScheduleKind& one : more) ours.erase(std::ranges::find(ours, one.name));
  return schedules_fault(more, ours);
}

/// A key that belongs to other choices is an error where it is given, and is not printed where it says nothing: runs of the path
/// edm that are older than these keys can be resumed.
class Keys {
 public:
  explicit Keys(core::Fields& f) : f_(f) {}
  template <class T>
  void of(bool applies, const char* name, T& value, const core::FieldRule& rule) {
    if (f_.reading() || applies) f_.field(name, value, rule);
    if (!applies && f_.given(name)) f_.error(name, "has no effect here; it belongs to " + rule.help);
  }
  void choice(const char* name, std::string& value, const std::string& standard,
              const core::FieldRule& rule) {
    if (f_.reading() || (value != standard && value != "auto")) f_.field(name, value, rule);
  }

 private:
  core::Fields& f_;
};

}  // namespace

void ObjectiveConfig::path_fields(core::Fields& f) {
  Keys keys(f);
  const Family& family = this->family();
  const bool gammas = family.is(Family::Kind::vp), shaped = path == "vp_cosine" || path == "vp_sigmoid";
  const bool betas = family.is(Family::Kind::betas) && path != "squaredcos_cap_v2";
  const bool flow = family.is(Family::Kind::flow);
  if (f.reading()) complete(*this);
  keys.of(!family.is(Family::Kind::edm), "num_timesteps", num_timesteps,
          {.min = 2, .max = 1e6, .help = "vp_*, betas, flow: T, the unit of the network's time"});
  keys.of(shaped, "gamma_start", gamma_start, {.help = "vp_cosine (0.2), vp_sigmoid (0): the curve's begin"});
  keys.of(shaped, "gamma_end", gamma_end, {.help = "vp_cosine (1), vp_sigmoid (3): the curve's end"});
  keys.of(shaped, "gamma_tau", gamma_tau, positive("vp_cosine (2), vp_sigmoid (0.7): its temperature"));
  keys.of(gammas, "gamma_clip", gamma_clip,
          {.min = 0, .max = 0.1, .exclusive_min = true, .help = "vp_*: the smallest gamma"});
  if (more_schedule(path) != nullptr) {
    if (f.reading() || !schedule) schedule = more_schedule(path)->schedule();
    schedule->fields(f);
  }
  keys.of(betas, "beta_start", beta_start,
          {.min = 0, .max = 1, .exclusive_min = true, .help = "linear, scaled_linear: the first beta"});
  keys.of(betas, "beta_end", beta_end,
          {.min = 0, .max = 0.999, .exclusive_min = true, .help = "linear, scaled_linear: the last beta"});
  keys.of(flow, "shift", shift, positive("flow: above 1, more of the time is noisy"));
  keys.of(
      flow, "shift_side", shift_side,
      {.min = 0,
       .help = "flow: the latent side at which shift is as given, in proportion at others; 0 = everywhere"});
}

void ObjectiveConfig::fields(core::Fields& f) {
  f.field("path", path, {.choices = all_names(&Family::paths), .help = "how noise is added"});
  if (const std::string fault = paths_fault(); !fault.empty()) return f.error("path", fault);
  f.field("prediction", prediction,
          {.choices = all_names(&Family::predictions), .help = "what the network predicts"});
  f.field("sigma_data", sigma_data, positive("standard deviation of the latents (edm)"));
  f.field("p_mean", p_mean, {.help = "mean of ln sigma in training (log_normal)"});
  f.field("p_std", p_std, positive("standard deviation of ln sigma in training (log_normal)"));
  const std::vector<std::string> known = all_names(&Family::paths);
  if (std::ranges::find(known, path) == known.end()) return;  // that error is enough
  path_fields(f);
  Keys keys(f);
  std::vector<std::string> laws = all_names(&Family::time_laws);
  laws.insert(laws.begin(), "auto");
  keys.choice("time_law", time_law, family().time_laws.front(),
              {.choices = laws, .help = "which times are trained on; auto = the path's own"});
  if (f.reading()) complete(*this);
  const bool logit = time_law == "logit_normal";
  keys.of(logit, "logit_mean", logit_mean, {.help = "logit_normal: mean of logit t"});
  keys.of(logit, "logit_std", logit_std, positive("logit_normal: standard deviation of logit t"));
  keys.choice("loss", loss, "mse",
              {.choices = {"mse", "l1", "smooth_l1", "huber"}, .help = "of what the network predicts"});
  keys.of(loss == "smooth_l1" || loss == "huber", "loss_delta", loss_delta,
          positive("smooth_l1, huber: where squares turn to lines"));
  keys.choice("weight", weight, "one",
              {.choices = {"one", "min_snr", "edm"}, .help = "of the loss at a time"});
  keys.of(weight == "min_snr", "snr_gamma", snr_gamma,
          positive("min_snr: the most that a signal-to-noise ratio counts"));
  if (!f.reading()) return;
  for (const auto& [key, message] : faults(*this)) f.error(key, message);
}

std::string describe_schedules() {
  std::string text;
  for (const ScheduleKind& more : more_schedules()) {
    const std::shared_ptr<NoiseSchedule> schedule = more.schedule();
    text += fmt::format("Keys of objective with path: {}\n{}", more.name,
                        core::detail::print_help(schedule.get(), core::detail::visitor<NoiseSchedule>()));
  }
  return text;
}

ObjectiveConfig settled(ObjectiveConfig config) {
  if (const std::string fault = paths_fault(); !fault.empty()) core::user_error("objective.path: {}", fault);
  complete(config);
  for (const auto& [key, message] : faults(config)) core::user_error("objective.{}: {}", key, message);
  return config;
}

}  // namespace microdit::diffusion

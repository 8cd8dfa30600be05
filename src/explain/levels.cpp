// All numbers are asked of diffusion; here they are only laid out.
#include "explain/levels.h"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "diffusion/grid.h"
#include "diffusion/prediction.h"
#include "image/plot.h"
#include "image/sheet.h"

namespace microdit::explain {
namespace {

using diffusion::Family;
using diffusion::Moment;
using diffusion::Objective;
using diffusion::ObjectiveConfig;

constexpr std::int64_t kCurve = 401;   // points of a drawn curve
constexpr std::int64_t kStored = 101;  // of one in explain.json
constexpr std::int64_t kDraws = 200'000;
constexpr double kFarthest = 15;  // log SNR that plots show, to either side
constexpr double kBin = 0.5;
constexpr double kShown = 10;  // of densities
constexpr std::int64_t kPanel = 222, kColumns = 4;

/// Each path's place in the cycle of colours, the same in all plots; grey for the one that is next to another.
std::int64_t color_of(const std::string& path) {
  const std::vector<std::string> order = {"vp_linear",  "flow",   "vp_cosine",         "edm",
                                          "vp_sigmoid", "linear", "squaredcos_cap_v2", "scaled_linear"};
  return std::ranges::find(order, path) - order.begin();
}

double log_snr(const diffusion::Level& level) {
  return 2 * (std::log(level.alpha) - std::log(level.sigma));
}

/// Part of the variance that is the picture's, of data of variance 1: gamma where alpha^2 + sigma^2 = 1.
double signal_share(const diffusion::Level& level) {
  const double signal = level.alpha * level.alpha, noise = level.sigma * level.sigma;
  return signal / (signal + noise);
}

double input_scale(const Objective& objective, const diffusion::Level& level) {
  const auto one = [](double value) { return torch::full({1}, value, torch::kDouble); };
  return objective.path().input_scale({one(level.alpha), one(level.sigma)}).item<double>();
}

image::Image panels(const std::vector<image::Image>& plots, const std::string& title,
                    const std::string& note) {
  image::Section section;
  for (const image::Image& plot : plots) section.blocks.push_back({{plot}, {}});
  return image::sheet({section},
                      {.columns = kColumns, .cell = kPanel, .scale = kScale, .title = title, .note = note});
}

Figure alphas_and_sigmas() {
  std::vector<image::Image> plots;
  for (const std::string& path : diffusion::all_names(&Family::paths)) {
    const Objective objective = objective_of(path);
    image::Series signal{.name = "signal", .x = {}, .y = {}, .size = 2.4, .color = 0},
        noise{.name = "noise", .x = {}, .y = {}, .size = 2.4, .color = 1};
    const auto moments = along(objective, kCurve);
    for (std::size_t i = 0; i < moments.size(); ++i) {
      const double scale = input_scale(objective, moments[i].level);
      for (image::Series* series : {&signal, &noise})
        series->x.push_back(static_cast<double>(i) / static_cast<double>(kCurve - 1));
      signal.y.push_back(scale * moments[i].level.alpha);
      noise.y.push_back(scale * moments[i].level.sigma);
    }
    plots.push_back(image::plot({signal, noise}, {.title = path,
                                                  .width = kPanel,
                                                  .height = kPanel,
                                                  .x = image::Limits{0, 1},
                                                  .y = image::Limits{0, 1.2},
                                                  .title_size = 13,
                                                  .scale = kScale}));
  }
  return {"levels",
          "x_t = alpha x0 + sigma n: alpha (signal) and sigma (noise) over time, 0 = the picture, 1 = noise. "
          "Of edm, where sigma goes "
          "up to 80, both are multiplied by c_in, as the network sees them, and time is the sampler's grid.",
          panels(plots, "How much picture, how much noise", "")};
}

/// One plot of all paths.
image::Image all_paths(const std::function<double(const diffusion::Level&)>& value, image::PlotStyle style) {
  std::vector<image::Series> all;
  for (const std::string& path : diffusion::all_names(&Family::paths)) {
    image::Series series{.name = path, .x = {}, .y = {}, .size = 2.2, .color = color_of(path)};
    const auto moments = along(objective_of(path), kCurve);
    for (std::size_t i = 0; i < moments.size(); ++i) {
      series.x.push_back(static_cast<double>(i) / static_cast<double>(kCurve - 1));
      series.y.push_back(value(moments[i].level));
    }
    all.push_back(std::move(series));
  }
  style.x_label = "time, from the picture to noise";
  style.width = kWidth;
  style.height = 420;
  style.x = image::Limits{0, 1};
  style.scale = kScale;
  return image::plot(all, style);
}

/// Where `objective`'s time law puts its samples: density per unit of log SNR in bins over +-kFarthest, of even quantiles.
image::Series density(const Objective& objective) {
  torch::Tensor draw = (torch::arange(kDraws, torch::kDouble) + 0.5) / static_cast<double>(kDraws);
  if (objective.time_draw() == diffusion::TimeDraw::normal)
    draw = std::numbers::sqrt2 * torch::erfinv(2 * draw - 1);
  const diffusion::Levels levels = objective.path().at(objective.times(draw, 1).to(torch::kDouble));
  const torch::Tensor snr = 2 * (levels.alpha_B.log() - levels.sigma_B.log());
  const auto bins = static_cast<std::int64_t>(2 * kFarthest / kBin);
  const torch::Tensor counts = torch::histc(snr, bins, -kFarthest, kFarthest);
  image::Series series;
  for (std::int64_t i = 0; i < bins; ++i) {
    series.x.push_back(-kFarthest + (static_cast<double>(i) + 0.5) * kBin);
    series.y.push_back(counts[i].item<double>() / (static_cast<double>(kDraws) * kBin));
  }
  return series;
}

Figure time_laws(core::Json& numbers) {
  const std::vector<std::string> laws = diffusion::all_names(&Family::time_laws);
  std::vector<image::Image> plots;
  for (const std::string& path : diffusion::all_names(&Family::paths)) {
    std::vector<image::Series> all;
    for (const std::string& law : diffusion::family_of(path).time_laws) {
      ObjectiveConfig config = objective_of(path).config();
      config.time_law = law;
      image::Series series = density(Objective(config));
      numbers[path][law] = series.y;
      series.name = law;
      series.color = std::ranges::find(laws, law) - laws.begin();
      const bool discrete = law == "uniform_discrete";  // beneath the one that it is nearly equal to
      series.faint = discrete;
      series.size = discrete ? 6 : 2;
      all.insert(discrete ? all.begin() : all.end(), std::move(series));
    }
    plots.push_back(image::plot(all, {.title = path,
                                      .width = kPanel,
                                      .height = kPanel + 20,
                                      .x = image::Limits{-kShown, kShown},
                                      .y = image::Limits{0, 0.42},
                                      .title_size = 13,
                                      .legend_lines = 3,
                                      .scale = kScale}));
  }
  numbers["log_snr"] = density(objective_of("edm")).x;
  return {"time_laws",
          "What training sees: the density of each time law over log SNR (right: nearly the picture; left: "
          "nearly noise). The first law "
          "of a path is its default; log_normal, logit_normal and shift are keys of the objective.",
          panels(plots, "Which noise levels a network is trained on", "")};
}

/// What (an error of x0)^2 counts in the loss: asked of the loss itself, with a network that errs by 1.
image::Series error_weight(ObjectiveConfig config, const std::string& name) {
  const Objective objective(std::move(config));
  const torch::Tensor zero = torch::zeros({1, 1, 1, 1});
  const diffusion::DenoiseFn errs = [](const diffusion::DenoiseInput& input) {
    return diffusion::DenoiseOutput{torch::ones_like(input.x_BCHW), {}};
  };
  image::Series series{.name = name, .x = {}, .y = {}, .size = 2.2};
  for (const Moment& moment : along(objective, kCurve)) {
    const double snr = log_snr(moment.level);
    if (!(std::fabs(snr) <= 10)) continue;
    const torch::Tensor time = torch::full({1}, moment.time, torch::kDouble);
    const double loss = objective.loss_at(errs, zero, {}, time, zero, {}, 0, 1).item<double>();
    const double b = diffusion::prediction_at(objective.config().prediction, objective.path().at(time),
                                              objective.config().sigma_data)
                         .b.item<double>();
    series.x.push_back(snr);
    series.y.push_back(loss / (b * b));
  }
  return series;
}

Figure weights(core::Json& numbers) {
  const auto config = [](const char* path, const char* prediction, const char* weight = "one") {
    ObjectiveConfig wanted;
    wanted.path = path;
    wanted.prediction = prediction;
    wanted.weight = weight;
    return diffusion::settled(wanted);
  };
  std::vector<image::Series> all = {
      error_weight(config("vp_cosine", "eps"), "eps"),
      error_weight(config("vp_cosine", "v"), "v"),
      error_weight(config("vp_cosine", "x0"), "x0"),
      error_weight(config("flow", "velocity"), "velocity (flow)"),
      error_weight(config("edm", "edm"), "edm"),
      error_weight(config("vp_cosine", "eps", "min_snr"), "eps with weight min_snr")};
  all.front().faint = true;  // beneath those that it runs along with
  all.front().size = 6;
  for (const image::Series& series : all)
    numbers[series.name] = {{"log_snr", series.x}, {"weight", series.y}};
  return {"weights",
          "What the network predicts decides what an error of the picture counts: the factor of |x0 - its "
          "estimate|^2 in the loss. eps "
          "cares most where there is hardly any noise; min_snr cuts that at 5.",
          image::plot(all, {.title = "What an error counts, by what is predicted",
                            .x_label = "log SNR",
                            .y_label = "weight",
                            .width = kWidth,
                            .height = 420,
                            .log_y = true,
                            .x = image::Limits{-10, 10},
                            .y = image::Limits{1e-4, 1e5},
                            .scale = kScale})};
}

core::Json stored(const std::string& path) {
  core::Json json;
  for (const Moment& moment : along(objective_of(path), kStored)) {
    json["time"].push_back(moment.time);
    json["alpha"].push_back(moment.level.alpha);
    json["sigma"].push_back(moment.level.sigma);
    const double snr = log_snr(moment.level);
    json["log_snr"].push_back(std::isfinite(snr) ? core::Json(snr) : core::Json());
    if (const Family& family = diffusion::family_of(path);
        family.is(Family::Kind::vp) || family.is(Family::Kind::betas))
      json["gamma"].push_back(moment.level.alpha * moment.level.alpha);
  }
  return json;
}

}  // namespace

Objective objective_of(const std::string& path) {
  ObjectiveConfig config;
  config.path = path;
  config.prediction = config.family().predictions.front();
  return Objective(config);
}

std::vector<Moment> along(const Objective& objective, std::int64_t count) {
  std::vector<Moment> moments;
  if (objective.config().family().is(Family::Kind::edm)) {
    diffusion::SamplerConfig sampler;
    sampler.steps = count;
    moments = diffusion::make_grid(diffusion::settled(sampler, objective.config()), objective.config(),
                                   objective.path(), 1);
    moments.pop_back();  // the one without noise
    std::ranges::reverse(moments);
    return moments;
  }
  for (std::int64_t i = 0; i < count; ++i)
    moments.push_back(objective.path().moment(objective.path().last_time() * static_cast<double>(i) /
                                              static_cast<double>(count - 1)));
  return moments;
}

Chapter levels_chapter() {
  Chapter chapter{.title = "Noise levels",
                  .words =
                      "<p>Training adds noise n to a picture x0, x<sub>t</sub> = &alpha; x0 + &sigma; n, and "
                      "a network learns to "
                      "tell them apart. A <i>path</i> says how &alpha; and &sigma; change with time. Whether "
                      "two paths differ is seen "
                      "best in the logarithm of the signal-to-noise ratio, log SNR = "
                      "ln(&alpha;&sup2;/&sigma;&sup2;).</p>\n"};
  for (const std::string& path : diffusion::all_names(&Family::paths))
    chapter.numbers["paths"][path] = stored(path);
  chapter.figures.push_back(alphas_and_sigmas());
  chapter.figures.push_back({"gamma",
                             "Part of the variance that is the picture's, alpha^2 / (alpha^2 + sigma^2), for "
                             "data of variance 1. Of vp_* and of DDPM's beta "
                             "schedules it is gamma = alpha^2 itself.",
                             all_paths(signal_share, {.title = "Gamma: the picture's part",
                                                      .y_label = "alpha^2 / (alpha^2 + sigma^2)",
                                                      .y = image::Limits{0, 1}})});
  chapter.figures.push_back(
      {"log_snr", "The same as log SNR. Two paths with the same curve are the same process at another pace.",
       all_paths(
           log_snr,
           {.title = "Signal to noise", .y_label = "log SNR", .y = image::Limits{-kFarthest, kFarthest}})});
  chapter.figures.push_back(time_laws(chapter.numbers["time_laws"]));
  chapter.figures.push_back(weights(chapter.numbers["weights"]));
  return chapter;
}

}  // namespace microdit::explain

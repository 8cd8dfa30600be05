// Two families side by side, always with the same axes, the same start noise and the same data behind.
#include "explain/toy.h"

#include <torch/utils.h>

#include <algorithm>

#include "core/log.h"
#include "explain/toy_ways.h"
#include "image/sheet.h"

namespace microdit::explain {
namespace {

constexpr std::int64_t kTrained = 20'000;  // points to learn from
constexpr std::int64_t kWaySteps = 100;    // of trajectories
constexpr std::int64_t kShownWays = 60, kShakenWays = 2;
constexpr std::int64_t kShownStates = 6;
constexpr std::int64_t kLabelRoom = 170;  // left of a sheet's rows

/// The side of a cell where so many stand beside a row's label.
std::int64_t cell_beside_label(std::size_t columns) {
  return std::min<std::int64_t>(150, (kWidth - kLabelRoom) / static_cast<std::int64_t>(columns) - 4);
}

struct Learned {
  std::string key, name, rule;  ///< of explain.json; of people; the rule of its trajectories
  ToyModel model;
};

ToyModel learn(const std::string& name, const char* path, const char* prediction, const ToyData& data,
               const ToyConfig& config, const core::StopFlag& stop) {
  diffusion::ObjectiveConfig objective;
  objective.path = path;
  objective.prediction = prediction;
  return ToyModel({.name = name,
                   .objective = diffusion::settled(objective),
                   .data = data,
                   .steps = config.training_steps,
                   .seed = config.seed},
                  stop);
}

Figure states(const std::vector<NamedWay>& ways, const torch::Tensor& data) {
  image::Section section;
  const std::int64_t side = cell_beside_label(kShownStates);
  for (std::int64_t i = 0; i < kShownStates; ++i)
    section.heads.push_back(i == 0 ? "noise"
                                   : fmt::format("{} % of the steps", 100 * i / (kShownStates - 1)));
  for (const auto& [name, drawn, way] : ways) {
    image::Block block{.pictures = {}, .caption = name};
    for (std::int64_t i = 0; i < kShownStates; ++i) {
      const std::size_t at = (way.size() - 1) * static_cast<std::size_t>(i) / (kShownStates - 1);
      block.pictures.push_back(
          plane({dots(data, kGrey, true, 1.4), dots(way[at], kBlue, false, 1.6)}, "", side));
    }
    section.blocks.push_back(std::move(block));
  }
  return {"states", fmt::format("All {} points on the way; pale: the data.", kPoints),
          image::sheet({section}, {.columns = 1, .caption_left = true, .cell = side, .scale = kScale})};
}

Figure step_grid(const Learned& learned, const torch::Tensor& data, const ToyConfig& config, double floor,
                 core::Json& numbers, const core::StopFlag& stop) {
  image::Section section;
  const std::int64_t side = cell_beside_label(config.steps.size());
  for (const std::int64_t steps : config.steps) section.heads.push_back(fmt::format("{} steps", steps));
  for (const std::string& rule : distinct_rules(learned.model.objective().config().family())) {
    const auto what = diffusion::step_rule(toy_sampler(rule, 1), learned.model.objective().config());
    image::Block block{.pictures = {},
                       .caption = what.evaluations > 1
                                      ? fmt::format("{} ({} evaluations a step)", rule, what.evaluations)
                                      : rule};
    for (const std::int64_t steps : config.steps) {
      const torch::Tensor sample =
          toy_way(learned.model, toy_sampler(rule, steps), kPoints, {}, config.seed, stop).back();
      const double distance = sliced_distance(sample, data);
      numbers[rule][std::to_string(steps)] = distance;
      block.pictures.push_back(plane({dots(data, kGrey, true, 1.4), dots(sample, kBlue, false, 1.6)},
                                     fmt::format("{:.3f}", distance), side));
    }
    section.blocks.push_back(std::move(block));
    core::log_info("{}: rule {} with {} counts of steps", learned.name, rule, config.steps.size());
  }
  return {
      "steps_" + learned.key,
      fmt::format(
          "{}: rules by steps, the same start noise, grid trailing. Above each its sliced "
          "2-Wasserstein distance to the data "
          "(pale); of two draws of the data it is {:.3f}. Points beyond a frame are not drawn: with "
          "two steps DDPM's heun takes the mean with an estimate made in nearly nothing but noise, which is "
          "far off.",
          learned.name, floor),
      image::sheet({section}, {.columns = 1, .caption_left = true, .cell = side, .scale = kScale})};
}

}  // namespace

std::vector<std::string> distinct_rules(const diffusion::Family& family) {
  const auto has = [&](const std::string& rule) {
    return std::ranges::find(family.rules, rule) != family.rules.end();
  };
  std::vector<std::string> rules = {has("ddim") ? "ddim" : "euler", "heun", "dpmpp_2m", "ancestral"};
  std::erase_if(rules, [&](const std::string& rule) { return !has(rule); });
  return rules;
}

Chapter toy_chapter(const ToyConfig& config, const core::StopFlag& stop) {
  const ToyData data = swiss_roll(kTrained, config.seed);
  const torch::Tensor shown = swiss_roll(kPoints, config.seed + 1).x_B211;
  const double floor = sliced_distance(shown, swiss_roll(kPoints, config.seed + 2).x_B211);
  std::vector<Learned> all;
  all.push_back({"ddpm", "DDPM", "ddim", learn("toy DDPM", "linear", "eps", data, config, stop)});
  all.push_back({"flow", "flow", "euler", learn("toy flow", "flow", "velocity", data, config, stop)});

  Chapter chapter{.title = "What sampling does, in the plane",
                  .words =
                      "<p>Two small networks learn the same data, a swiss roll of points: one as DDPM (path "
                      "<code>linear</code>, it predicts the noise), "
                      "one as a flow (path <code>flow</code>, it predicts the velocity). In training each "
                      "point of the data is joined with a noise: by DDPM's path "
                      "along a curve, by a flow's straight on and at an even pace. Then the library's "
                      "sampler takes points from noise to data. DDPM's own steps "
                      "add noise on the way; DDIM takes the same network along a smooth way. What a network "
                      "knows is the mean of all lines through a point, and so "
                      "a flow's ways, too, bend once it is clear where they lead: they first draw together, "
                      "then part. DDIM's hardly move while there is nearly "
                      "noise alone, and do all at the end; where data and noise are of one size that makes "
                      "them the shorter, but a few steps miss that end.</p>\n"};
  core::Json& numbers = chapter.numbers;
  numbers["distance_of_two_draws"] = floor;
  std::vector<NamedWay> ways, smooth;
  for (const Learned& learned : all) {
    numbers["models"][learned.key] = {{"objective", core::to_json(learned.model.objective().config())},
                                      {"training_steps", config.training_steps},
                                      {"loss", learned.model.final_loss()}};
    const auto way = [&](const std::string& rule) {
      return toy_way(learned.model, toy_sampler(rule, kWaySteps), kPoints, {}, config.seed, stop);
    };
    if (learned.key == "ddpm") ways.push_back({"DDPM, ancestral", kShakenWays, way("ancestral")});
    ways.push_back({fmt::format("{}, {}", learned.name, learned.rule), kShownWays, way(learned.rule)});
    smooth.push_back(ways.back());
  }
  std::vector<NamedWay> pairs;
  for (const Learned& learned : all)
    pairs.push_back({learned.name, kShownWays / 2,
                     pairs_way(learned.model.objective(), shown, smooth.front().way.front())});
  chapter.figures.push_back(ways_figure(
      "pairs", "What training shows: noise (grey) and a point of the data (orange), joined by each path.",
      pairs, shown, numbers["pairs"]));
  chapter.figures.push_back(ways_figure(
      "trajectories",
      fmt::format("What sampling does: from noise (grey) to data (orange) in {} steps; pale: the data.",
                  kWaySteps),
      ways, shown, numbers));
  chapter.figures.push_back(states(smooth, shown));
  for (const Learned& learned : all)
    chapter.figures.push_back(
        step_grid(learned, shown, config, floor, numbers["distance"][learned.key], stop));
  return chapter;
}

Chapter toy_guidance_chapter(const ToyConfig& config, const core::StopFlag& stop) {
  const ToyData data = three_arms(kTrained, config.seed);
  const ToyModel model = learn("toy classes", "flow", "velocity", data, config, stop);
  const std::int64_t each = kPoints / kArms, count = each * kArms;
  const ToyData shown = three_arms(count, config.seed + 1);  // class i % kArms, as the samples'
  const auto of_arm = [](const torch::Tensor& x, std::int64_t arm) { return x.slice(0, arm, {}, kArms); };
  const auto far = [](const torch::Tensor& x) {
    return x.to(torch::kDouble).square().sum({1, 2, 3}).sqrt().mean().item<double>();
  };
  Chapter chapter{.title = "Guidance",
                  .words =
                      "<p>Guidance leads from what the network says without a condition towards, and beyond, "
                      "what it says with it: "
                      "null + g (conditional &minus; null). 0 leaves the condition out, 1 is the network "
                      "itself; more makes samples more "
                      "typical of their class, then overshoots what there is in the data.</p>\n"};
  image::Section section;
  const auto columns = static_cast<std::int64_t>(config.guidance.size()) + 1;
  const std::int64_t in_line = columns <= 4 ? columns : (columns + 1) / 2,
                     side = std::min<std::int64_t>(300, kWidth / in_line - 20);
  const auto panel = [&](const torch::Tensor& x, const std::string& title) {
    std::vector<image::Series> series = {dots(shown.x_B211, kGrey, true, 1.6)};
    for (std::int64_t arm = 0; arm < kArms; ++arm) series.push_back(dots(of_arm(x, arm), arm, false, 2));
    section.blocks.push_back({{plane(series, title, side)}, {}});
  };
  panel(shown.x_B211, "the data");
  for (const double guidance : config.guidance) {
    const torch::Tensor sample = toy_way(model, toy_sampler("euler", 50, guidance), count,
                                         {.class_B = shown.class_B}, config.seed, stop)
                                     .back();
    double distance = 0;
    for (std::int64_t arm = 0; arm < kArms; ++arm)
      distance += sliced_distance(of_arm(sample, arm), of_arm(shown.x_B211, arm)) / kArms;
    chapter.numbers["guidance"].push_back({{"guidance", guidance},
                                           {"distance", distance},
                                           {"radius_by_data", far(sample) / far(shown.x_B211)}});
    panel(sample, fmt::format("guidance {:g}: {:.3f}", guidance, distance));
  }
  chapter.numbers["loss"] = model.final_loss();
  core::log_info("toy classes: guidance of {} strengths", config.guidance.size());
  chapter.figures.push_back({"guidance",
                             "Three classes by colour, a flow's 50 Euler steps, the same start noise; pale: "
                             "the data. The number is the sliced 2-Wasserstein "
                             "distance to the own class, mean of the three.",
                             image::sheet({section}, {.columns = in_line, .cell = side, .scale = kScale})});
  return chapter;
}

}  // namespace microdit::explain

// As generate paints: the run's objective, its sampler's settings, its codec.
#include "explain/run_grids.h"

#include <ATen/Parallel.h>
#include <torch/utils.h>

#include <algorithm>

#include "core/error.h"
#include "core/html.h"
#include "core/log.h"
#include "diffusion/grid.h"
#include "eval/encoder_hashes.h"
#include "eval/grid_pages.h"
#include "eval/painter.h"
#include "eval/trained_run.h"
#include "explain/toy.h"
#include "image/sheet.h"

namespace microdit::explain {
namespace {

constexpr std::size_t kMostOwnPrompts = 4;
constexpr std::int64_t kLabelRoom = 170;

/// What the run painted while it trained.
std::vector<std::string> own_prompts(const std::filesystem::path& folder) {
  const core::Json settings = core::read_json(folder / "settings.json");
  std::vector<std::string> prompts;
  if (const core::Json::json_pointer at("/sampling/prompts");
      settings.contains(at) && settings[at].is_array())
    for (const core::Json& prompt : settings[at])
      if (prompt.is_string() && prompts.size() < kMostOwnPrompts)
        prompts.push_back(prompt.get<std::string>());
  if (prompts.empty())
    core::user_error("prompts: {} names none that it painted; give prompts=[...]", folder.string());
  return prompts;
}

eval::TrainedRun opened(const ExplainConfig& config, comm::Communicator& comm) {
  eval::RunOptions options;
  options.step = config.step;
  options.weights = config.weights;
  options.compute = config.compute;
  return eval::open_run(config.run, options, comm);
}

std::int64_t cell_of(std::size_t columns) {
  return std::min<std::int64_t>(150, (kWidth - kLabelRoom) / static_cast<std::int64_t>(columns) - 4);
}

}  // namespace

struct RunGrids::Opened {
  Opened(const ExplainConfig& config, comm::Communicator& comm, const core::StopFlag& stop)
      : config(config),
        stop(stop),
        run(opened(config, comm)),
        compute(eval::choose_compute(config.compute, run.trained_precision, comm)),
        prompts(config.prompts.empty() ? own_prompts(run.folder) : config.prompts),
        guidance(config.guidance) {
    if (!run.facts.model.has_null()) guidance = {1};  // nothing to lead away from
    eval::hash_encoders_once(run.facts.codec, run.facts.text_encoder, run.folder, comm, stop);
    painter = std::make_unique<eval::Painter>(run.facts, run.folder, compute.device, stop);
    painter->warn_of_cut(prompts);
    // What any of them refuses, before the toys are trained.
    const auto check = [&](const diffusion::SamplerConfig& sampler) {
      diffusion::make_grid(sampler, run.objective.config(), run.objective.path(), run.facts.latent_size);
    };
    for (const double strength : guidance) check(with_guidance(strength));
    for (const std::string& rule : rules())
      for (const std::int64_t steps : config.steps) check(by_rule(rule, steps));
  }

  std::vector<std::string> rules() const { return distinct_rules(run.objective.config().family()); }

  /// As `generate rule=... steps=...` paints; a model without a null condition is not guided.
  diffusion::SamplerConfig by_rule(const std::string& rule, std::int64_t steps) const {
    diffusion::SamplerConfig asked{.rule = rule, .steps = steps, .guidance = 1, .given = {"rule"}};
    if (!run.facts.model.has_null()) asked.given.emplace_back("guidance");
    return diffusion::settled(asked.over(run.sampler), run.objective.config());
  }

  /// As `generate guidance=...` paints: rescaling and interval are those of the run's own guidance, not of another. Below 1, which is
  /// no setting of a sampler, there is only what the network itself gives.
  diffusion::SamplerConfig with_guidance(double strength) const {
    const diffusion::SamplerConfig asked{.steps = run.sampler.steps, .guidance = 1, .given = {"guidance"}};
    diffusion::SamplerConfig sampler = asked.over(run.sampler);
    sampler.guidance = strength;
    return diffusion::settled(sampler, run.objective.config());
  }

  std::vector<image::Image> paint(models::Denoiser& model, const std::vector<std::string>& what,
                                  const diffusion::SamplerConfig& sampler) const {
    eval::PaintOrder order{.prompts = what, .seeds = {}, .sampler = sampler};
    for (std::size_t i = 0; i < what.size(); ++i) order.seeds.push_back(config.seed + i);
    order.batch = static_cast<std::int64_t>(what.size());
    order.bf16 = compute.bf16;
    order.keep_going = [&] { return !stop.requested(); };
    const eval::Painting painting = painter->paint(model, run.objective, order);
    if (!painting.sample_BCHW.defined()) throw core::Stopped();
    std::vector<image::Image> pictures = painter->decode(painting.sample_BCHW, order.batch, order.keep_going);
    if (pictures.size() < what.size()) throw core::Stopped();
    return pictures;
  }

  Figure guidance_grid(models::Denoiser& model) const {
    image::Section section;
    for (const std::string& prompt : prompts) section.blocks.push_back({{}, prompt});
    for (const double strength : guidance) {
      const auto pictures = paint(model, prompts, with_guidance(strength));
      for (std::size_t i = 0; i < prompts.size(); ++i) section.blocks[i].pictures.push_back(pictures[i]);
      section.heads.push_back(strength == 0 ? "0 (no condition)" : fmt::format("guidance {:g}", strength));
      core::log_info("run: guidance {:g} painted", strength);
    }
    return {"run_guidance",
            fmt::format("Guidance: {} steps of {}, a row has one prompt and one start noise.",
                        run.sampler.steps, run.sampler.rule),
            image::sheet(
                {section},
                {.columns = 1, .caption_left = true, .cell = cell_of(guidance.size()), .scale = kScale})};
  }

  Figure step_grid(models::Denoiser& model) const {
    image::Section section;
    for (const std::int64_t steps : config.steps) section.heads.push_back(fmt::format("{} steps", steps));
    for (const std::string& rule : rules()) {
      image::Block block{.pictures = {}, .caption = rule};
      for (const std::int64_t steps : config.steps)
        block.pictures.push_back(paint(model, {prompts.front()}, by_rule(rule, steps)).front());
      section.blocks.push_back(std::move(block));
      core::log_info("run: rule {} painted", rule);
    }
    return {"run_steps",
            fmt::format("Steps: \"{}\" with guidance {:g} and one start noise, by every rule.",
                        prompts.front(), by_rule(rules().front(), config.steps.front()).guidance),
            image::sheet(
                {section},
                {.columns = 1, .caption_left = true, .cell = cell_of(config.steps.size()), .scale = kScale})};
  }

  const ExplainConfig& config;
  const core::StopFlag& stop;
  eval::TrainedRun run;
  eval::Compute compute;
  std::vector<std::string> prompts;
  std::vector<double> guidance;
  std::unique_ptr<eval::Painter> painter;
};

RunGrids::RunGrids(const ExplainConfig& config, comm::Communicator& comm, const core::StopFlag& stop)
    : opened_(std::make_unique<Opened>(config, comm, stop)) {}

RunGrids::~RunGrids() = default;

core::Json RunGrids::identity() const {
  return {{"checkpoint_sha256", opened_->run.checkpoint_sha256()},
          {"step", opened_->run.step()},
          {"weights", opened_->run.weights},
          {"precision", opened_->compute.bf16 ? "bf16" : "fp32"},
          {"sampler", core::to_json(opened_->run.sampler)},
          {"prompts", opened_->prompts}};
}

std::string RunGrids::describe() const {
  return fmt::format("{}: {} on {}", opened_->run.folder.string(), eval::made_by(opened_->run),
                     opened_->compute.text());
}

Chapter RunGrids::chapter() const {
  const Opened& o = *opened_;
  at::set_num_threads(static_cast<int>(o.compute.threads));
  core::log_info("run: painting on {}", o.compute.text());
  Chapter chapter{
      .title = "A trained run",
      .words = fmt::format(
          "<p>The same two questions to the run <code>{}</code> ({}): path <code>{}</code>, prediction "
          "<code>{}</code>.{}</p>\n",
          core::escaped(o.run.folder.filename().string()), core::escaped(eval::made_by(o.run)),
          o.run.objective.config().path, o.run.objective.config().prediction,
          o.run.facts.model.has_null()
              ? ""
              : " It has learned no null condition, so that there is no guidance to show.")};
  chapter.numbers = identity();
  const auto model = o.run.load_model(o.compute.device);
  if (o.run.facts.model.has_null()) chapter.figures.push_back(o.guidance_grid(*model));
  chapter.figures.push_back(o.step_grid(*model));
  return chapter;
}

}  // namespace microdit::explain

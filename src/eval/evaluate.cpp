// Loss and retrieval of a trained run.
#include "eval/evaluate.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "eval/best_and_worst.h"
#include "eval/call_folder.h"
#include "eval/encoder_hashes.h"
#include "eval/evaluation.h"
#include "eval/grid_pages.h"
#include "eval/retrieval.h"
#include "eval/summary.h"

namespace microdit::eval {
namespace {

namespace fs = std::filesystem;

const std::vector<ValidationSource>& validation_of(const TrainedRun& run, const EvaluateConfig& config) {
  return config.own_validation ? config.validation.data : run.validation;
}

/// [{"dataset", "recipe", "min_side"}]
core::Json validation_json(const TrainedRun& run, const EvaluateConfig& config) {
  return core::to_json(EvaluatedData{validation_of(run, config)}).at("data");
}

/// The train split first; the held-out one where there is one.
std::vector<std::unique_ptr<Split>> open_splits(const TrainedRun& run, const EvaluateConfig& config,
                                                const stream::Once& once) {
  stream::CaptionRule captions{{config.caption}, {}, false};
  if (config.caption.empty()) captions = {run.facts.captions, {}, true};
  std::vector<std::unique_ptr<Split>> splits;
  for (const char* name : {"train", "held_out"}) {
    RunFacts facts = run.facts;
    const bool others = name == std::string("held_out") && !validation_of(run, config).empty();
    if (others) facts.data = run_sources(validation_of(run, config));
    auto split =
        Split::open(facts, name, captions, static_cast<std::uint64_t>(config.seed), once, run.folder);
    if (others && !split)
      core::user_error(
          "validation.data: {}: it holds nothing out; set splits: {{held_out: 1}} in the dataset's entry and "
          "clean again under a new name, or leave validation.data=[] for what the run's own data hold out",
          facts.data.front().name());
    if (split) splits.push_back(std::move(split));
  }
  if (splits.empty()) core::user_error("evaluate: the data of {} has no samples", run.folder.string());
  if (splits.size() == 1) {
    core::log_warn(
        "the data has only samples of split {}: the loss is measured on it (to hold samples out, set "
        "splits.held_out=0.01 in "
        "the dataset's entry and clean again under a new name)",
        splits.front()->name());
  }
  return splits;
}

/// Of the split that the loss is measured on.
std::int64_t loss_samples(const Split& split, const EvaluateConfig& config) {
  return config.loss_samples == 0 ? split.count() : std::min(split.count(), config.loss_samples);
}

std::vector<std::int64_t> shares_of(const std::vector<std::unique_ptr<Split>>& splits,
                                    const EvaluateConfig& config) {
  std::vector<std::int64_t> sizes;
  for (const auto& split : splits) sizes.push_back(split->count());
  return shares(sizes, config.candidates, config.prompts);
}

/// All that the numbers depend on.
core::Json call_of(const TrainedRun& run, const EvaluateConfig& config, const std::string& precision,
                   const std::vector<std::unique_ptr<Split>>& splits) {
  core::Json sizes = core::Json::object();
  for (const auto& split : splits) sizes[split->name()] = split->count();
  core::Json call = {{"step", run.step()},
                     {"checkpoint_sha256", run.checkpoint_sha256()},
                     {"weights", run.weights},
                     {"sampler", core::to_json(run.sampler)},
                     {"precision", precision},
                     {"prompts", config.prompts},
                     {"candidates", config.candidates},
                     {"loss_samples", config.loss_samples},
                     {"loss_draws", config.loss_draws},
                     {"seed", config.seed},
                     {"caption", config.caption},
                     {"samples", sizes}};
  if (const core::Json data = validation_json(run, config); !data.empty()) call["validation"] = data;
  return call;
}

/// RUN/evaluation/NNN-step-N. What lies there from before evaluations had folders goes into one of its own.
fs::path make_folder(const TrainedRun& run, const core::Json& call) {
  const fs::path home = run.folder / "evaluation", metrics = run.folder / "metrics.json";
  if (fs::exists(metrics) && call_folders(home).empty()) {
    const fs::path earlier = home / "000-earlier";
    fs::create_directories(earlier);
    fs::copy_file(metrics, earlier / "metrics.json", fs::copy_options::overwrite_existing);
    const std::vector<fs::directory_entry> entries(fs::directory_iterator(home), fs::directory_iterator{});
    for (const auto& entry : entries) {
      if (entry.is_regular_file()) fs::rename(entry.path(), earlier / entry.path().filename());
    }
  }
  return call_folder(home, fmt::format("step-{}", run.step()), call, true);
}

/// Adds the losses to the metrics; false after a stop.
bool measure_loss(const Evaluation& evaluation, const std::vector<std::unique_ptr<Split>>& splits,
                  const EvaluateConfig& config, core::Json& metrics) {
  const Split& measured = *splits.back();
  const std::int64_t samples = loss_samples(measured, config);
  const auto loss = evaluation.loss(measured, samples);
  if (!loss) return false;
  metrics["eval_loss"] = *loss;
  metrics["eval_loss_split"] = measured.name();
  metrics["loss_samples"] = samples;
  metrics["loss_draws"] = config.loss_draws;
  core::log_info("eval loss {:.5f} ({} samples of split {} x {} draws)", *loss, samples, measured.name(),
                 config.loss_draws);
  const auto untrained = evaluation.untrained_loss(measured, samples);
  if (!untrained) return false;
  metrics["loss"] = {{measured.name() == "train" ? "trained" : "held_out", *loss}, {"untrained", *untrained}};
  if (splits.size() == 1) return true;
  const auto trained = evaluation.loss(*splits.front(), std::min(samples, splits.front()->count()));
  if (trained) metrics["loss"]["trained"] = *trained;
  return trained.has_value();
}

/// Adds `retrieval` to the metrics; false after a stop.
bool measure_retrieval(const Evaluation& evaluation, const std::vector<std::unique_ptr<Split>>& splits,
                       const EvaluateConfig& config, const fs::path& folder, const std::string& note,
                       core::Json& metrics, comm::Communicator& comm) {
  std::vector<Painted> painted;
  for (const auto& split : splits) {
    auto one = evaluation.paint(*split);
    if (!one) return false;
    painted.push_back(std::move(*one));
  }
  const std::vector<std::int64_t> candidates = shares_of(splits, config);
  const auto nearer = evaluation.nearer(painted, splits, candidates);
  if (!nearer) return false;
  const std::int64_t ranked = std::accumulate(candidates.begin(), candidates.end(), std::int64_t{0});
  auto next = nearer->begin();
  for (std::size_t i = 0; i < splits.size(); ++i) {
    const std::vector<std::int64_t> ranks(next, next + painted[i].truth.count());
    next += painted[i].truth.count();
    const std::string name = splits[i]->name() == "train" ? "trained" : "held_out";
    metrics["retrieval"][name] = summarize_ranks(ranks, ranked);
    comm.on_root([&] {
      write_best_and_worst(folder, name, painted[i], ranks, ranked, evaluation.painter(), note);
      if (config.save_latents) write_latents(folder / (name + "_latents.safetensors"), painted[i].painting);
    });
  }
  return true;
}

void say(const core::Json& metrics) {
  const auto named = [](const char* name, const std::string& value) {
    return value.empty() ? "" : fmt::format(", {} {}", name, value);
  };
  for (const SummaryRow& row : summary_rows(metrics)) {
    const std::string values = named("trained", row.trained) + named("held out", row.held_out) +
                               named("untrained", row.untrained) + named("chance", row.chance);
    core::log_info("{}: {} ({} is better)", row.name, values.substr(std::min<std::size_t>(2, values.size())),
                   row.better);
  }
  if (const std::string text = recital(metrics); !text.empty()) core::log_info("{}", text);
}

/// A class has many pictures: that a painted one is nearest to the sample whose class was asked for says nothing.
bool measures_retrieval(const TrainedRun& run, const EvaluateConfig& config) {
  return config.prompts > 0 && run.facts.model.takes_text();
}

}  // namespace

void EvaluateConfig::fields(core::Fields& f) {
  f.field("prompts", prompts, {.min = 0, .max = 1e5, .help = "prompts per split for retrieval; 0 = none"});
  f.field("candidates", candidates,
          {.min = 2, .max = 1e8, .help = "samples ranked at most, a fixed draw over both splits"});
  f.field("loss_samples", loss_samples,
          {.min = 0, .help = "samples for the loss at most, a fixed draw; 0 = all held out"});
  f.field("loss_draws", loss_draws, {.min = 1, .max = 1e4, .help = "noise draws per sample"});
  f.field("seed", seed, {.min = 0, .help = "of the fixed noise and of all draws"});
  f.field("caption", caption,
          {.help = "caption source of the prompts; empty = the first the run trained on"});
  f.field("save_latents", save_latents,
          {.help = "also SPLIT_latents.safetensors: unit (start noise), text (and text_mask), sample"});
  own_validation = f.given("validation");
  f.section("validation", validation);
  run.fields(f);
  if (f.reading() && candidates < 2 * prompts)
    f.error("candidates", fmt::format("must be at least twice prompts ({})", prompts));
}

int evaluate(const std::string& run_folder, const EvaluateConfig& config, comm::Communicator& comm,
             const core::StopFlag& stop) {
  const TrainedRun run = open_run(run_folder, config.run, comm);
  const bool retrieves = measures_retrieval(run, config);
  if (retrieves) check_sampler(run);
  hash_encoders_once(run.facts.codec, run.facts.text_encoder, run.folder, comm, stop);
  const std::vector<std::unique_ptr<Split>> splits =
      open_splits(run, config, [&](const std::function<std::string()>& work) { return comm.on_root(work); });
  const comm::WiderDeadline others_may_be_slower(comm, kLongestBatch_s);
  if (config.prompts > 0 && !retrieves)
    core::log_info("no retrieval: the run is conditioned on {}; build/bin/score measures its pictures",
                   run.facts.model.takes_classes() ? "classes" : "nothing");
  const Evaluation evaluation(config, run, comm, stop);
  const fs::path folder = comm.on_root(
      [&] { return make_folder(run, call_of(run, config, evaluation.precision(), splits)).string(); });

  core::Json metrics;
  metrics["step"] = run.step();
  metrics["weights"] = run.weights;
  metrics["sampler"] = core::to_json(run.sampler);
  if (!validation_of(run, config).empty()) metrics["eval_data"] = validation_json(run, config);
  if (!measure_loss(evaluation, splits, config, metrics) ||
      (retrieves && !measure_retrieval(evaluation, splits, config, folder, made_by(run), metrics, comm))) {
    core::log_info("stopped as asked; the same command measures anew");
    return core::kRequeueMe;
  }
  comm.on_root([&] {
    core::write_json(folder / "metrics.json", metrics);
    core::write_json(run.folder / "metrics.json", metrics);
    point_latest(run.folder / "evaluation", folder);
    say(metrics);
    core::log_info("numbers and pictures in {}; the newest numbers also in {}", folder.string(),
                   (run.folder / "metrics.json").string());
  });
  return core::kDone;
}

int describe_evaluate(const std::string& run_folder, const EvaluateConfig& config, comm::Communicator& comm) {
  const TrainedRun run = open_run(run_folder, config.run, comm);
  if (measures_retrieval(run, config)) check_sampler(run);
  if (comm.rank() != 0) return core::kDone;
  const Painter painter(run.facts, run.folder, torch::kCPU);
  const std::vector<std::unique_ptr<Split>> splits =
      open_splits(run, config, [](const std::function<std::string()>& work) { return work(); });
  fmt::print("evaluate {}: loss on {} samples of split {} x {} draws", run.folder.string(),
             loss_samples(*splits.back(), config), splits.back()->name(), config.loss_draws);
  if (measures_retrieval(run, config)) {
    const std::vector<std::int64_t> candidates = shares_of(splits, config);
    fmt::print("; retrieval of {} prompts of each of {} split(s) among {} samples", config.prompts,
               splits.size(), std::accumulate(candidates.begin(), candidates.end(), std::int64_t{0}));
  }
  fmt::print("\n{}\nrun, encoders and data are good; nothing was written\n", needs_text(run, config.run));
  return core::kDone;
}

}  // namespace microdit::eval

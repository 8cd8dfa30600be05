// Loss and retrieval of a trained run.
#include "eval/evaluate.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "eval/evaluation.h"
#include "eval/retrieval.h"

namespace microdit::eval {
namespace {

namespace fs = std::filesystem;

/// The train split first; the held-out one where there is one.
std::vector<std::unique_ptr<Split>> open_splits(const TrainedRun& run, const EvaluateConfig& config,
                                                const stream::Once& once) {
  const std::string caption = config.caption.empty() ? run.facts.captions.front() : config.caption;
  std::vector<std::unique_ptr<Split>> splits;
  for (const char* name : {"train", "held_out"}) {
    auto split =
        Split::open(run.facts, name, caption, static_cast<std::uint64_t>(config.seed), once, run.folder);
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

/// Adds `retrieval` to the metrics; false after a stop.
bool measure_retrieval(const Evaluation& evaluation, const std::vector<std::unique_ptr<Split>>& splits,
                       const EvaluateConfig& config, const fs::path& folder, core::Json& metrics,
                       comm::Communicator& comm) {
  std::vector<Painted> painted;
  for (const auto& split : splits) {
    auto one = evaluation.paint(*split);
    if (!one) return false;
    painted.push_back(std::move(*one));
  }
  const std::vector<std::int64_t> candidates = shares_of(splits, config);
  const auto nearer = evaluation.nearer(painted, splits, candidates);
  if (!nearer) return false;
  auto next = nearer->begin();
  for (std::size_t i = 0; i < splits.size(); ++i) {
    const std::vector<std::int64_t> ranks(next, next + painted[i].truth.count());
    next += painted[i].truth.count();
    const std::string name = splits[i]->name() == "train" ? "trained" : "held_out";
    metrics["retrieval"][name] =
        summarize_ranks(ranks, std::accumulate(candidates.begin(), candidates.end(), std::int64_t{0}));
    core::log_info("retrieval, {}: {}", name, metrics["retrieval"][name].dump());
    comm.on_root([&] {
      evaluation.draw_best_and_worst(folder / (name + "_best_and_worst.png"), painted[i], ranks);
      if (config.save_latents) write_latents(folder / (name + "_latents.safetensors"), painted[i].painting);
    });
  }
  return true;
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
          {.help = "also evaluation/*_latents.safetensors: unit (start noise), text, sample"});
  run.fields(f);
  if (f.reading() && candidates < 2 * prompts)
    f.error("candidates", fmt::format("must be at least twice prompts ({})", prompts));
}

int evaluate(const std::string& run_folder, const EvaluateConfig& config, comm::Communicator& comm,
             const core::StopFlag& stop) {
  const TrainedRun run = open_run(run_folder, config.run, comm);
  const std::vector<std::unique_ptr<Split>> splits =
      open_splits(run, config, [&](const std::function<std::string()>& work) { return comm.on_root(work); });
  const comm::WiderDeadline others_may_be_slower(comm, kLongestBatch_s);
  const Evaluation evaluation(config, run, comm, stop);
  const fs::path pictures = run.folder / "evaluation";
  comm.on_root([&] { fs::create_directories(pictures); });

  core::Json metrics;
  metrics["step"] = run.step();
  metrics["weights"] = run.weights;
  metrics["sampler"] = core::to_json(run.sampler);
  const Split& measured = *splits.back();
  const std::int64_t samples = loss_samples(measured, config);
  const auto stopped = [] {
    core::log_info("stopped as asked; the same command measures anew");
    return core::kRequeueMe;
  };
  const auto loss = evaluation.loss(measured, samples);
  if (!loss) return stopped();
  metrics["eval_loss"] = *loss;
  metrics["eval_loss_split"] = measured.name();
  metrics["loss_samples"] = samples;
  core::log_info("eval loss {:.5f} ({} samples of split {} x {} draws)", *loss, samples, measured.name(),
                 config.loss_draws);
  if (config.prompts > 0 && !measure_retrieval(evaluation, splits, config, pictures, metrics, comm))
    return stopped();
  comm.on_root([&] { core::write_json(run.folder / "metrics.json", metrics); });
  return core::kDone;
}

int describe_evaluate(const std::string& run_folder, const EvaluateConfig& config, comm::Communicator& comm) {
  const TrainedRun run = open_run(run_folder, config.run, comm);
  if (comm.rank() != 0) return core::kDone;
  const Painter painter(run.facts, run.folder, torch::kCPU);
  const std::vector<std::unique_ptr<Split>> splits =
      open_splits(run, config, [](const std::function<std::string()>& work) { return work(); });
  fmt::print("evaluate {}: loss on {} samples of split {} x {} draws", run.folder.string(),
             loss_samples(*splits.back(), config), splits.back()->name(), config.loss_draws);
  if (config.prompts > 0) {
    const std::vector<std::int64_t> candidates = shares_of(splits, config);
    fmt::print("; retrieval of {} prompts of each of {} split(s) among {} samples", config.prompts,
               splits.size(), std::accumulate(candidates.begin(), candidates.end(), std::int64_t{0}));
  }
  fmt::print("\n{}\nrun, encoders and data are good; nothing was written\n", needs_text(run, config.run));
  return core::kDone;
}

}  // namespace microdit::eval

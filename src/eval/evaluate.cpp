// Loss and retrieval of a trained run.
#include "eval/evaluate.h"

#include <torch/utils.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/seed.h"
#include "core/utf8.h"
#include "diffusion/noise.h"
#include "eval/eval_data.h"
#include "eval/gather_rows.h"
#include "eval/painter.h"
#include "eval/retrieval.h"
#include "image/encode.h"
#include "image/grid.h"
#include "nn/autocast.h"

namespace microdit::eval {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kCandidatesAtOnce = 256;
constexpr double kLongestBatch_s = 3600;  // a large network on few cores

/// What was painted of one split's first samples, on every rank.
struct Painted {
  Painting painting;
  Piece truth;  ///< the samples whose captions were painted
};

class Evaluation {
 public:
  Evaluation(const EvaluateConfig& config, const TrainedRun& run, comm::Communicator& comm,
             const core::StopFlag& stop)
      : config_(config),
        run_(run),
        comm_(comm),
        stop_(stop),
        compute_(choose_compute(config.run.compute, run.trained_precision, comm)),
        painter_(run.facts, run.folder, compute_.device),
        model_(run.load_model(compute_.device)) {
    core::log_info("measuring on {}; {} samples at a time, guidance {}, {} steps", compute_.text(),
                   config.run.batch_size, run.sampler.guidance, run.sampler.steps);
  }

  std::optional<double> loss(const Split& split, std::int64_t samples) const;
  std::optional<Painted> paint(const Split& split) const;
  /// For each painted row of both splits, the candidates that are nearer than its own sample.
  std::optional<std::vector<std::int64_t>> nearer(const std::vector<Painted>& painted,
                                                  const std::vector<std::unique_ptr<Split>>& splits,
                                                  const std::vector<std::int64_t>& shares) const;
  void draw_best_and_worst(const fs::path& file, const Painted& painted,
                           const std::vector<std::int64_t>& ranks) const;

 private:
  /// Blocks of this rank, round by round; the ranks agree after each on whether to stop: false.
  template <class Work>
  bool share_blocks(std::int64_t blocks, const Work& work) const {
    for (std::int64_t first = 0; first < blocks; first += comm_.size()) {
      const std::int64_t block = first + comm_.rank();
      if (block < blocks && !stop_.requested()) work(block);
      if (comm_.any(stop_.requested())) return false;
    }
    return true;
  }
  double block_loss(const Piece& piece) const;

  const EvaluateConfig& config_;
  const TrainedRun& run_;
  comm::Communicator& comm_;
  const core::StopFlag& stop_;
  Compute compute_;
  Painter painter_;
  std::shared_ptr<models::Denoiser> model_;
};

/// Sum over samples and draws, unmasked, at noise that is a function of (seed, sample, draw).
double Evaluation::block_loss(const Piece& piece) const {
  const torch::NoGradGuard no_grad;
  const nn::Autocast autocast(compute_.bf16, compute_.device);
  double sum = 0;
  for (std::int64_t draw = 0; draw < config_.loss_draws && !stop_.requested(); ++draw) {
    std::vector<diffusion::NoiseKey> keys;
    for (const std::int64_t sample : piece.sample) {
      keys.push_back({static_cast<std::uint64_t>(config_.seed), static_cast<std::uint64_t>(sample),
                      static_cast<std::uint64_t>(draw)});
    }
    diffusion::NoiseDraw noise = diffusion::draw_noise(keys, piece.latents_NCHW.sizes().slice(1));
    noise.time_normal_B = noise.time_normal_B.to(compute_.device);
    noise.noise_BCHW = noise.noise_BCHW.to(compute_.device);
    const torch::Tensor mean =
        run_.objective.loss(denoise_fn(*model_), piece.latents_NCHW.to(compute_.device),
                            piece.text_NLD.to(compute_.device), noise, 0, model_->patch_size());
    sum += mean.item<double>() * static_cast<double>(piece.count());
  }
  return sum;
}

std::optional<double> Evaluation::loss(const Split& split, std::int64_t samples) const {
  const std::int64_t batch = config_.run.batch_size;
  // Per block, so that the sum does not depend on ranks.
  std::vector<double> sums(static_cast<std::size_t>((samples + batch - 1) / batch));
  const bool done = share_blocks(static_cast<std::int64_t>(sums.size()), [&](std::int64_t block) {
    sums[static_cast<std::size_t>(block)] =
        block_loss(split.read(block * batch, std::min(batch, samples - block * batch)));
  });
  if (!done) return std::nullopt;
  comm_.all_reduce_sum(sums);
  return std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(samples * config_.loss_draws);
}

std::optional<Painted> Evaluation::paint(const Split& split) const {
  Painted painted;
  const std::int64_t total = std::min(config_.prompts, split.count()), batch = config_.run.batch_size;
  painted.truth = split.read(0, total, true);
  PaintOrder order{.prompts = {},
                   .seeds = {},
                   .sampler = run_.sampler,
                   .batch = batch,
                   .bf16 = compute_.bf16,
                   .keep_going = [this] { return !stop_.requested(); }};
  std::map<std::size_t, Painting> own;
  const bool done = share_blocks((total + batch - 1) / batch, [&](std::int64_t block) {
    order.prompts.clear();
    order.seeds.clear();
    for (std::int64_t i = block * batch; i < std::min(total, (block + 1) * batch); ++i) {
      order.prompts.push_back(painted.truth.captions[static_cast<std::size_t>(i)]);
      order.seeds.push_back(
          core::derive_seed(static_cast<std::uint64_t>(config_.seed), static_cast<std::uint64_t>(i)));
    }
    own[static_cast<std::size_t>(block)] = painter_.paint(*model_, run_.objective, order);
    core::log_info("retrieval, {}: painted {} of {}", split.name(), std::min(total, (block + 1) * batch),
                   total);
  });
  if (!done) return std::nullopt;
  painted.painting.sample_BCHW = gather_rows(own, &Painting::sample_BCHW, comm_);
  if (config_.save_latents) {
    painted.painting.unit_BCHW = gather_rows(own, &Painting::unit_BCHW, comm_);
    painted.painting.text_BLD = gather_rows(own, &Painting::text_BLD, comm_);
  }
  return painted;
}

std::optional<std::vector<std::int64_t>> Evaluation::nearer(const std::vector<Painted>& painted,
                                                            const std::vector<std::unique_ptr<Split>>& splits,
                                                            const std::vector<std::int64_t>& shares) const {
  std::vector<torch::Tensor> rows, own;
  for (const Painted& one : painted) {
    rows.push_back(one.painting.sample_BCHW.flatten(1));
    own.push_back(one.truth.latents_NCHW.flatten(1));
  }
  NearerCounter counter(torch::cat(rows), torch::cat(own));
  for (std::size_t i = 0; i < splits.size(); ++i) {
    const bool done =
        share_blocks((shares[i] + kCandidatesAtOnce - 1) / kCandidatesAtOnce, [&](std::int64_t block) {
          const std::int64_t first = block * kCandidatesAtOnce;
          counter.add(
              splits[i]->read(first, std::min(kCandidatesAtOnce, shares[i] - first)).latents_NCHW.flatten(1));
        });
    if (!done) return std::nullopt;
  }
  std::vector<double> counts(counter.nearer().begin(), counter.nearer().end());
  comm_.all_reduce_sum(counts);
  return std::vector<std::int64_t>(counts.begin(), counts.end());
}

/// Pairs (truth | painted) of the best and the worst ranks.
void Evaluation::draw_best_and_worst(const fs::path& file, const Painted& painted,
                                     const std::vector<std::int64_t>& ranks) const {
  std::vector<std::size_t> order(ranks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return ranks[a] < ranks[b]; });
  const std::size_t some = std::min<std::size_t>(8, order.size() / 2);
  std::vector<std::size_t> shown(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(some));
  shown.insert(shown.end(), order.end() - static_cast<std::ptrdiff_t>(some), order.end());
  std::vector<torch::Tensor> latents;
  std::vector<std::string> captions;
  for (const std::size_t i : shown) {
    latents.push_back(painted.truth.latents_NCHW[static_cast<std::int64_t>(i)]);
    latents.push_back(painted.painting.sample_BCHW[static_cast<std::int64_t>(i)]);
    captions.emplace_back("truth");
    captions.push_back(fmt::format("#{} {}", ranks[i] + 1, painted.truth.captions[i]));
  }
  if (latents.empty()) return;
  const auto pictures = painter_.decode(torch::stack(latents));
  core::atomic_write(file, image::encode_png(image::grid(pictures, captions,
                                                         {.columns = 8, .title = file.stem().string()})));
}

/// The train split first; the held-out one where there is one.
std::vector<std::unique_ptr<Split>> open_splits(const TrainedRun& run, const EvaluateConfig& config) {
  const std::string caption = config.caption.empty() ? run.facts.captions.front() : config.caption;
  std::vector<std::unique_ptr<Split>> splits;
  for (const char* name : {"train", "held_out"}) {
    auto split = Split::open(run.facts, name, caption, static_cast<std::uint64_t>(config.seed));
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
  const std::vector<std::unique_ptr<Split>> splits = open_splits(run, config);
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
  const std::vector<std::unique_ptr<Split>> splits = open_splits(run, config);
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

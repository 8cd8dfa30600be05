// Loss and retrieval of a trained run.
#include "eval/evaluate.h"

#include <torch/utils.h>
#include <algorithm>
#include <numeric>

#include "core/atomic_file.h"
#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/log.h"
#include "core/seed.h"
#include "eval/painter.h"
#include "eval/retrieval.h"
#include "eval/trained_run.h"
#include "image/encode.h"
#include "image/grid.h"
#include "stream/latent_stream.h"

namespace microdit::eval {
namespace {

namespace fs = std::filesystem;

/// One split's samples, whole: scaled latents, text rows, captions.
struct Samples {
  torch::Tensor latents_NCHW;  ///< fp32
  torch::Tensor text_NLD;      ///< fp16
  std::vector<std::string> captions;
  std::int64_t count() const { return latents_NCHW.defined() ? latents_NCHW.size(0) : 0; }
};

Samples read_samples(const core::Json& facts, const std::string& split, const std::string& caption) {
  stream::StreamConfig config;
  for (const auto& dataset : facts.at("datasets"))
    config.sources.push_back({core::dataset_folder("latents", dataset.get<std::string>()), 0});
  config.size = facts.at("size").get<std::int64_t>();
  config.split = split;
  config.caption_sources = {caption};
  config.shuffle = false;
  const stream::LatentStream stream(config);
  const stream::Batch all = stream.read(0, stream.num_samples(), true);
  const auto& f = stream.facts();
  const auto half = [&](const std::vector<std::uint16_t>& values, at::IntArrayRef shape) {
    return torch::from_blob(const_cast<std::uint16_t*>(values.data()), shape, torch::kFloat16).clone();
  };
  return {half(all.latents, {all.count, f.channels, f.latent_size, f.latent_size}).to(torch::kFloat32),
          half(all.text, {all.count, f.text_length, f.text_width}), all.captions};
}

/// Mean objective over the split, unmasked, at noise that is a function of (seed, sample, draw).
double eval_loss(TrainedRun& run, const Samples& samples, const EvaluateConfig& config,
                 comm::Communicator& comm) {
  torch::NoGradGuard no_grad;
  const auto fn = denoise_fn(*run.model);
  const std::int64_t blocks = (samples.count() + config.run.batch_size - 1) / config.run.batch_size;
  std::vector<double> sums(
      static_cast<std::size_t>(blocks));  // per block, so that the sum does not depend on ranks
  for (std::int64_t block = comm.rank(); block < blocks; block += comm.size()) {
    const std::int64_t first = block * config.run.batch_size;
    const std::int64_t count = std::min(config.run.batch_size, samples.count() - first);
    const torch::Tensor x0 = samples.latents_NCHW.narrow(0, first, count);
    const torch::Tensor text = samples.text_NLD.narrow(0, first, count).to(torch::kFloat32);
    for (std::int64_t draw = 0; draw < config.loss_draws; ++draw) {
      diffusion::NoiseDraw noise{torch::empty({count}), torch::empty(x0.sizes()), {}};
      const std::int64_t pixels = x0[0].numel();
      for (std::int64_t i = 0; i < count; ++i) {
        const auto key = static_cast<std::uint64_t>(first + i);
        const auto seed = static_cast<std::uint64_t>(config.seed);
        const auto number = static_cast<std::uint64_t>(draw);
        noise.time_normal_B.data_ptr<float>()[i] =
            core::CounterRng(seed, core::Purpose::time, key, number).normal();
        core::CounterRng(seed, core::Purpose::noise, key, number)
            .fill_normal({noise.noise_BCHW.data_ptr<float>() + i * pixels, static_cast<std::size_t>(pixels)});
      }
      noise.time_normal_B = noise.time_normal_B.to(run.device);
      noise.noise_BCHW = noise.noise_BCHW.to(run.device);
      const double mean =
          run.objective.loss(fn, x0.to(run.device), text.to(run.device), noise, 0, run.model->patch_size())
              .item<double>();
      sums[static_cast<std::size_t>(block)] += mean * static_cast<double>(count);
    }
  }
  comm.all_reduce_sum(sums);
  return std::accumulate(sums.begin(), sums.end(), 0.0) /
         static_cast<double>(samples.count() * config.loss_draws);
}

/// A fixed choice of `count` of n samples.
std::vector<std::int64_t> choose(std::int64_t n, std::int64_t count, std::uint64_t seed) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  core::CounterRng rng(seed, core::Purpose::order);
  for (std::size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[rng.below(i)]);
  all.resize(static_cast<std::size_t>(std::min(n, count)));
  return all;
}

/// Paints the prompts' latents over the ranks; every rank gets all of them. [P, C, h, w]
torch::Tensor paint(TrainedRun& run, const Painter& painter, const std::vector<std::string>& prompts,
                    const EvaluateConfig& config, comm::Communicator& comm) {
  const auto total = static_cast<std::int64_t>(prompts.size());
  std::vector<double> values;
  std::int64_t row = 0;
  for (std::int64_t first = 0; first < total; first += config.run.batch_size) {
    if (first / config.run.batch_size % comm.size() != comm.rank()) continue;
    const std::int64_t last = std::min(total, first + config.run.batch_size);
    const std::vector<std::string> some(prompts.begin() + first, prompts.begin() + last);
    std::vector<std::uint64_t> seeds;
    for (std::int64_t i = first; i < last; ++i) {
      seeds.push_back(
          core::derive_seed(static_cast<std::uint64_t>(config.seed), static_cast<std::uint64_t>(i)));
    }
    const torch::Tensor latents =
        painter.latents(*run.model, run.objective, some, seeds, run.sampler, config.run.batch_size)
            .cpu()
            .contiguous();
    row = latents[0].numel();
    values.resize(static_cast<std::size_t>(total * row));
    std::copy_n(latents.data_ptr<float>(), latents.numel(), values.begin() + first * row);
    core::log_info("retrieval: painted {} of {}", last, total);
  }
  double width[] = {static_cast<double>(row)};
  comm.all_reduce_max(width);
  values.resize(static_cast<std::size_t>(total) * static_cast<std::size_t>(width[0]));
  comm.all_reduce_sum(values);
  return torch::tensor(values, torch::kFloat64).to(torch::kFloat32).view({total, -1});
}

/// Pairs (truth | painted) of the best and the worst ranks.
void draw_best_and_worst(const fs::path& file, const Painter& painter, const torch::Tensor& painted,
                         const Samples& samples, const std::vector<std::int64_t>& chosen,
                         const std::vector<std::int64_t>& ranks) {
  std::vector<std::size_t> order(chosen.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return ranks[a] < ranks[b]; });
  const std::size_t some = std::min<std::size_t>(8, order.size() / 2);
  std::vector<std::size_t> shown(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(some));
  shown.insert(shown.end(), order.end() - static_cast<std::ptrdiff_t>(some), order.end());
  std::vector<torch::Tensor> latents;
  std::vector<std::string> captions;
  for (const std::size_t i : shown) {
    const torch::Tensor truth = samples.latents_NCHW[chosen[i]];
    latents.push_back(truth);
    latents.push_back(painted[static_cast<std::int64_t>(i)].view(truth.sizes()));
    captions.push_back("truth");
    captions.push_back(
        fmt::format("#{} {}", ranks[i] + 1, samples.captions[static_cast<std::size_t>(chosen[i])]));
  }
  if (latents.empty()) return;
  const auto pictures = painter.decode(torch::stack(latents));
  core::atomic_write(file, image::encode_png(image::grid(pictures, captions,
                                                         {.columns = 8, .title = file.stem().string()})));
}

}  // namespace

void EvaluateConfig::fields(core::Fields& f) {
  f.field("prompts", prompts, {.min = 0, .max = 1e6, .help = "prompts per split for retrieval; 0 = none"});
  f.field("loss_draws", loss_draws, {.min = 1, .max = 1e4, .help = "noise draws per held-out sample"});
  f.field("seed", seed, {.min = 0, .help = "of the fixed noise and of the choice of prompts"});
  f.field("caption", caption,
          {.help = "caption source of the prompts; empty = the first the run trained on"});
  run.fields(f);
}

int evaluate(const std::string& run_folder, const EvaluateConfig& config, comm::Communicator& comm) {
  TrainedRun run = open_run(run_folder, config.run, comm);
  const Painter painter(run.facts, run.device);
  std::string caption = config.caption;
  if (caption.empty()) caption = run.facts.at("captions").at(0).get<std::string>();
  const Samples trained = read_samples(run.facts, "train", caption);
  const Samples held_out = read_samples(run.facts, "held_out", caption);

  core::Json metrics;
  metrics["step"] = run.step;
  metrics["weights"] = run.weights;
  metrics["sampler"] = core::to_json(run.sampler);
  metrics["eval_loss"] = eval_loss(run, held_out, config, comm);
  core::log_info("eval loss {:.5f} ({} held-out samples x {} draws)", metrics["eval_loss"].get<double>(),
                 held_out.count(), config.loss_draws);
  const torch::Tensor candidates = torch::cat({trained.latents_NCHW, held_out.latents_NCHW}).flatten(1);
  const fs::path pictures = fs::path(run_folder) / "evaluation";
  if (comm.rank() == 0) fs::create_directories(pictures);
  for (const auto& [name, samples, shift] : {std::tuple{"trained", &trained, std::int64_t{0}},
                                             std::tuple{"held_out", &held_out, trained.count()}}) {
    if (config.prompts == 0) break;
    const auto chosen = choose(samples->count(), config.prompts, static_cast<std::uint64_t>(config.seed));
    std::vector<std::string> prompts;
    std::vector<std::int64_t> truth;
    for (const std::int64_t i : chosen) {
      prompts.push_back(samples->captions[static_cast<std::size_t>(i)]);
      truth.push_back(shift + i);
    }
    const torch::Tensor painted = paint(run, painter, prompts, config, comm);
    const auto ranks = retrieval_ranks(painted, candidates, truth);
    metrics["retrieval"][name] = summarize_ranks(ranks, candidates.size(0));
    core::log_info("retrieval, {}: {}", name, metrics["retrieval"][name].dump());
    if (comm.rank() == 0) {
      draw_best_and_worst(pictures / (std::string(name) + "_best_and_worst.png"), painter, painted, *samples,
                          chosen, ranks);
    }
  }
  if (comm.rank() == 0) core::write_json(fs::path(run_folder) / "metrics.json", metrics);
  comm.barrier();
  return core::kDone;
}

}  // namespace microdit::eval

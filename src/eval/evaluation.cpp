// Measuring, in blocks over ranks.
#include "eval/evaluation.h"

#include <torch/utils.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "core/log.h"
#include "core/seed.h"
#include "diffusion/noise.h"
#include "eval/denoise_fn.h"
#include "eval/gather_rows.h"
#include "eval/grid_pages.h"
#include "eval/retrieval.h"
#include "nn/autocast.h"

namespace microdit::eval {
namespace {

constexpr std::int64_t kCandidatesAtOnce = 256;

}  // namespace

Evaluation::Evaluation(const EvaluateConfig& config, const TrainedRun& run, comm::Communicator& comm,
                       const core::StopFlag& stop)
    : config_(config),
      run_(run),
      comm_(comm),
      stop_(stop),
      compute_(choose_compute(config.run.compute, run.trained_precision, comm)),
      painter_(run.facts, run.folder, compute_.device, stop),
      model_(run.load_model(compute_.device)) {
  core::log_info("measuring on {}; {} samples at a time; {}", compute_.text(), config.run.batch_size,
                 made_by(run));
}

/// Sum over samples and draws, unmasked, at noise that is a function of (seed, sample, draw).
double Evaluation::block_loss(const diffusion::DenoiseFn& network, const Piece& piece) const {
  const torch::NoGradGuard no_grad;
  const nn::Autocast autocast(compute_.bf16, compute_.device);
  double sum = 0;
  for (std::int64_t draw = 0; draw < config_.loss_draws && !stop_.requested(); ++draw) {
    std::vector<diffusion::NoiseKey> keys;
    for (const std::int64_t sample : piece.sample) {
      keys.push_back({static_cast<std::uint64_t>(config_.seed), static_cast<std::uint64_t>(sample),
                      static_cast<std::uint64_t>(draw)});
    }
    diffusion::NoiseDraw noise =
        diffusion::draw_noise(keys, run_.objective.time_draw(), piece.latents_NCHW.sizes().slice(1));
    noise.time_B = noise.time_B.to(compute_.device);
    noise.noise_BCHW = noise.noise_BCHW.to(compute_.device);
    const torch::Tensor mean =
        run_.objective.loss(network, piece.latents_NCHW.to(compute_.device),
                            with_learned_null(*model_, run_.facts.model,
                                              on_device(piece.condition, compute_.device), piece.captioned_B),
                            noise, 0, model_->patch_size());
    sum += mean.item<double>() * static_cast<double>(piece.count());
  }
  return sum;
}

std::optional<double> Evaluation::loss(const Split& split, std::int64_t samples) const {
  return loss_of(denoise_fn(*model_), split, samples);
}

std::optional<double> Evaluation::untrained_loss(const Split& split, std::int64_t samples) const {
  const auto nothing = [](const diffusion::DenoiseInput& input) {
    return diffusion::DenoiseOutput{torch::zeros_like(input.x_BCHW), {}};
  };
  return loss_of(nothing, split, samples);
}

std::optional<double> Evaluation::loss_of(const diffusion::DenoiseFn& network, const Split& split,
                                          std::int64_t samples) const {
  const std::int64_t batch = config_.run.batch_size;
  // Per block, so that the sum does not depend on ranks.
  std::vector<double> sums(static_cast<std::size_t>((samples + batch - 1) / batch));
  const bool done = share_blocks(static_cast<std::int64_t>(sums.size()), [&](std::int64_t block) {
    sums[static_cast<std::size_t>(block)] =
        block_loss(network, split.read(block * batch, std::min(batch, samples - block * batch), true, false));
  });
  if (!done) return std::nullopt;
  comm_.all_reduce_sum(sums);
  return std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(samples * config_.loss_draws);
}

std::optional<Painted> Evaluation::paint(const Split& split) const {
  Painted painted;
  const std::int64_t total = std::min(config_.prompts, split.count()), batch = config_.run.batch_size;
  painted.truth = split.read(0, total, false, true);
  PaintOrder order{.prompts = {},
                   .seeds = {},
                   .negative = {},
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
  if (config_.save_latents)
    painted.painting = gather_painting(own, comm_);
  else
    painted.painting.sample_BCHW = gather_rows(own, &Painting::sample_BCHW, comm_);
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
          const std::int64_t count = std::min(kCandidatesAtOnce, shares[i] - first);
          counter.add(splits[i]->read(first, count, false, false).latents_NCHW.flatten(1));
        });
    if (!done) return std::nullopt;
  }
  std::vector<double> counts(counter.nearer().begin(), counter.nearer().end());
  comm_.all_reduce_sum(counts);
  return std::vector<std::int64_t>(counts.begin(), counts.end());
}

}  // namespace microdit::eval

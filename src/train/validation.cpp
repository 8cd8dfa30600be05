// Fixed samples at fixed levels.
#include "train/validation.h"

#include <torch/utils.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "diffusion/noise.h"
#include "eval/denoise_fn.h"
#include "eval/run_sources.h"

namespace microdit::train {
namespace {

constexpr std::uint64_t kSeed = 7;  // evaluate's own: another run is measured on the same

/// The held-out samples of the config's data, or the run's.
std::unique_ptr<eval::Split> open_split(const ValidationConfig& config, const eval::RunFacts& run,
                                        const std::filesystem::path& run_folder, const stream::Once& once) {
  eval::RunFacts facts = run;
  if (!config.data.empty()) facts.data = eval::run_sources(config.data);
  auto split = eval::Split::open(facts, "held_out", {run.captions, {}, true}, kSeed, once, run_folder);
  if (!split)
    core::user_error(
        "validation.every_steps={}: {} holds nothing out; name a dataset that does "
        "(validation.data=[{{dataset: "
        "NAME}}]), or set splits: {{held_out: 0.01}} in the dataset's entry and clean again under a new name",
        config.every_steps.text(), facts.data.front().name());
  return split;
}

}  // namespace

Validation::Validation(const ValidationConfig& config, const eval::RunFacts& facts,
                       const std::filesystem::path& run_folder, const stream::Once& once)
    : config_(config),
      model_config_(facts.model),
      split_(open_split(config, facts, run_folder, once)),
      samples_(std::min(config.samples, split_->count())) {}

std::string Validation::version() const {
  std::string text;
  if (!config_.data.empty())
    for (const core::Json& pin : split_->pins()) text += " " + pin.value("sha256", "");
  return text;
}

double Validation::block_loss(models::Denoiser& model, const diffusion::Objective& objective,
                              torch::Device device, const eval::Piece& piece, std::int64_t level) const {
  std::vector<diffusion::NoiseKey> keys;
  for (const std::int64_t sample : piece.sample)
    keys.push_back({kSeed, static_cast<std::uint64_t>(sample), static_cast<std::uint64_t>(level)});
  diffusion::NoiseDraw draw =
      diffusion::draw_noise(keys, objective.time_draw(), piece.latents_NCHW.sizes().slice(1));
  // The middle of the level's share of the law, instead of a draw from it.
  const double share = (static_cast<double>(level) + 0.5) / static_cast<double>(config_.levels);
  draw.time_B.fill_(objective.time_draw() == diffusion::TimeDraw::normal
                        ? torch::special_ndtri(torch::tensor(share, torch::kFloat64)).item<double>()
                        : share);
  draw.time_B = draw.time_B.to(device);
  draw.noise_BCHW = draw.noise_BCHW.to(device);
  const diffusion::Condition condition = eval::with_learned_null(
      model, model_config_, eval::on_device(piece.condition, device), piece.captioned_B);
  const torch::Tensor mean = objective.loss(eval::denoise_fn(model), piece.latents_NCHW.to(device), condition,
                                            draw, 0, model.patch_size());
  return mean.item<double>() * static_cast<double>(piece.count());
}

std::optional<Validated> Validation::measure(models::Denoiser& model, const diffusion::Objective& objective,
                                             torch::Device device, comm::Communicator& comm,
                                             const core::StopFlag& stop) const {
  const torch::NoGradGuard no_grad;
  const std::int64_t batch = config_.batch_size, blocks = (samples_ + batch - 1) / batch;
  std::vector<double> sums(static_cast<std::size_t>(config_.levels * blocks));  // each is one rank's
  // A block at a level is one piece of work; each rank has neighbouring ones, so that it reads few blocks.
  const std::int64_t works = blocks * config_.levels;
  const std::int64_t begin = works * comm.rank() / comm.size(), end = works * (comm.rank() + 1) / comm.size();
  eval::Piece piece;
  std::int64_t held = -1;  // block that `piece` is
  for (std::int64_t round = 0; round * comm.size() < works; ++round) {
    const std::int64_t work = begin + round;
    if (work < end && !stop.requested()) {
      const std::int64_t block = work / config_.levels, level = work % config_.levels;
      if (std::exchange(held, block) != block)
        piece = split_->read(block * batch, std::min(batch, samples_ - block * batch), true, false);
      sums[static_cast<std::size_t>(level * blocks + block)] =
          block_loss(model, objective, device, piece, level);
    }
    if (comm.any(stop.requested())) return std::nullopt;
  }
  comm.all_reduce_sum(sums);
  Validated found;
  for (auto level = sums.begin(); level != sums.end(); level += blocks)
    found.levels.push_back(std::accumulate(level, level + blocks, 0.0) / static_cast<double>(samples_));
  found.loss = std::accumulate(found.levels.begin(), found.levels.end(), 0.0) /
               static_cast<double>(found.levels.size());
  return found;
}

}  // namespace microdit::train

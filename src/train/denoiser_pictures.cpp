// Pictures while a denoiser is trained.
#include "core/error.h"
#include "core/seed.h"
#include "diffusion/grid.h"
#include "eval/encoder_hashes.h"
#include "image/decode.h"
#include "image/encode.h"
#include "image/grid.h"
#include "train/denoiser_task.h"
#include "train/evaluation_mode.h"
#include "train/run_folder.h"

namespace microdit::train {

void DenoiserTask::prepare_pictures(comm::Communicator& comm, const core::StopFlag& stop) {
  if (facts_.codec.kind.empty() || (config_.model.takes_text() && facts_.text_encoder.kind.empty()))
    core::user_error(
        "sampling.every_steps={}: the data name no codec and text encoder to paint with; say "
        "sampling.every_steps=0, or (of an MDS folder) data.codec and data.text_encoder",
        config_.sampling.every_steps.text());
  const diffusion::SamplerConfig& sampler = config_.sampling.sampler;
  eval::demand_paintable(sampler, config_.model);
  diffusion::make_grid(diffusion::settled(sampler, objective_.config(), "sampling"), objective_.config(),
                       objective_.path(), shape_.latent_size);  // what it refuses
  const auto folder = run_folder(config_.loop).path();
  eval::hash_encoders_once(facts_.codec, facts_.text_encoder, folder, comm, stop);
  painters_ = std::min<std::size_t>(config_.sampling.prompts.size(), static_cast<std::size_t>(comm.size()));
  if (static_cast<std::size_t>(comm.rank()) >= painters_) return;
  painter_ = std::make_unique<eval::Painter>(facts_, folder, device_, stop);
  painter_->warn_of_cut(config_.sampling.prompts);
}

/// The pictures of every size()-th prompt, from rank() on.
std::vector<image::Image> DenoiserTask::paint_share(comm::Communicator& comm, const core::StopFlag& stop) {
  const SamplingConfig& s = config_.sampling;
  eval::PaintOrder order;
  for (std::size_t i = 0; i < s.prompts.size(); ++i) {
    if (static_cast<int>(i) % comm.size() != comm.rank()) continue;
    order.prompts.push_back(s.prompts[i]);
    order.seeds.push_back(core::derive_seed(static_cast<std::uint64_t>(config_.loop.seed), i));
  }
  if (order.prompts.empty()) return {};
  order.sampler = s.sampler;
  order.batch = std::min<std::int64_t>(32, static_cast<std::int64_t>(order.prompts.size()));
  order.bf16 = config_.loop.precision == "bf16";
  order.keep_going = [&] { return !stop.requested(); };
  const EvaluationMode while_painting(*model_);
  const torch::Tensor sample_BCHW = painter_->paint(*model_, objective_, order).sample_BCHW;
  return sample_BCHW.defined() ? painter_->decode(sample_BCHW) : std::vector<image::Image>();
}

std::optional<image::Image> DenoiserTask::picture(std::int64_t step, comm::Communicator& comm,
                                                  const core::StopFlag& stop) {
  if (painters_ == 0) return std::nullopt;
  std::string share;  // "+" and the pictures as PNG, each behind its length; or "-" and an error
  try {
    share = "+";
    for (const image::Image& picture : paint_share(comm, stop)) {
      const std::vector<std::byte> png = image::encode_png(picture);
      share += fmt::format("{} ", png.size());
      share.append(reinterpret_cast<const char*>(png.data()), png.size());
    }
  } catch (const std::exception& error) {
    share = "-" + core::error_to_text(error, fmt::format("rank {}: ", comm.rank()));
  }
  const std::vector<std::string> shares = comm.all_gather(share);
  if (comm.any(stop.requested())) return std::nullopt;  // some share may be incomplete
  std::vector<std::size_t> at(shares.size(), 1);
  for (const std::string& one : shares) {
    if (one.front() == '-') core::throw_from_text(one.substr(1));
  }
  std::vector<image::Image> pictures;
  for (std::size_t i = 0; i < config_.sampling.prompts.size(); ++i) {
    const std::string& from = shares[i % shares.size()];
    std::size_t& position = at[i % shares.size()];
    const std::size_t bytes = std::stoul(from.substr(position, 20));
    position = from.find(' ', position) + 1;
    pictures.push_back(image::decode(std::as_bytes(std::span(from).subspan(position, bytes))));
    position += bytes;
  }
  return image::grid(pictures, config_.sampling.prompts, {.title = fmt::format("step {}", step)});
}

}  // namespace microdit::train

// Batches, noise and loss of denoiser training.
#include "train/denoiser_task.h"

#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/log.h"
#include "core/seed.h"
#include "image/decode.h"
#include "image/encode.h"
#include "image/grid.h"

namespace microdit::train {
namespace {

std::unique_ptr<stream::LatentStream> open_stream(const TrainConfig& config) {
  stream::StreamConfig s;
  for (const DataSource& source : config.data)
    s.sources.push_back({core::dataset_folder("latents", source.dataset), source.proportion});
  s.size = config.size;
  s.caption_sources = config.captions;
  s.caption_drop = config.caption_drop;
  s.seed = static_cast<std::uint64_t>(config.loop.seed);
  s.threads = config.prefetch_threads;
  return std::make_unique<stream::LatentStream>(s);
}

/// Takes a shape from the data; a config that states another one is an error.
void complete(std::int64_t& value, std::int64_t from_data, const char* key) {
  if (value != 0 && value != from_data) {
    core::user_error("model.{}: the config says {}, the latents' manifest says {}; leave the key out", key,
                     value, from_data);
  }
  value = from_data;
}

/// Fills the model's shapes in place and returns the completed config.
const TrainConfig& complete_model(TrainConfig& config, const stream::StreamFacts& facts) {
  complete(config.model.in_channels, facts.channels, "in_channels");
  complete(config.model.input_size, facts.latent_size, "input_size");
  complete(config.model.caption_channels, facts.text_width, "caption_channels");
  return config;
}

core::Json run_facts(const TrainConfig& config, const stream::StreamFacts& data) {
  core::Json facts;
  facts["stage"] = "run";
  facts["size"] = config.size;
  facts["channels"] = data.channels;
  facts["latent_size"] = data.latent_size;
  facts["text_length"] = data.text_length;
  facts["text_width"] = data.text_width;
  facts["codec"] = data.facts.at("codec");
  facts["text_encoder"] = data.facts.at("text_encoder");
  // The caption sources it trains on, the first first.
  facts["captions"] =
      config.captions.empty() ? data.facts.at("caption_sources") : core::Json(config.captions);
  core::Json datasets = core::Json::array();
  for (const DataSource& source : config.data) datasets.push_back(source.dataset);
  facts["datasets"] = datasets;
  facts["model"] = core::to_json(config.model);
  facts["objective"] = core::to_json(config.objective);
  return facts;
}

torch::Tensor from_half(const std::vector<std::uint16_t>& values, std::int64_t first_row,
                        at::IntArrayRef shape) {
  std::int64_t row = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) row *= shape[i];
  auto* data = const_cast<std::uint16_t*>(values.data()) + first_row * row;
  return torch::from_blob(data, shape, torch::kFloat16);
}

/// No dropout and the like while it lives, whatever ends it.
class EvaluationMode {
 public:
  explicit EvaluationMode(torch::nn::Module& module) : module_(module) { module_.eval(); }
  ~EvaluationMode() { module_.train(); }

 private:
  torch::nn::Module& module_;
};

}  // namespace

DenoiserTask::DenoiserTask(TrainConfig& config, torch::Device device)
    : stream_(open_stream(config)),
      config_(complete_model(config, stream_->facts())),
      device_(device),
      objective_(config.objective) {
  model_ = models::make_uninitialized_denoiser(config.model);
  if (config.mask_ratio > 0 && !model_->supports_masking()) {
    core::user_error("mask_ratio={}: model.kind={} cannot be masked; set mask_ratio=0", config.mask_ratio,
                     config.model.kind);
  }
  model_->to(device);
  model_->train();
  facts_ = run_facts(config, stream_->facts());
  core::log_info("data: {} samples of {} px, text {} x {}", stream_->num_samples(), config.size,
                 stream_->facts().text_length, stream_->facts().text_width);
}

void DenoiserTask::start(std::int64_t completed, std::int64_t offset, std::int64_t rows, std::int64_t batch) {
  stream_->start(completed * batch + offset, rows, batch);
}

void DenoiserTask::next_batch() {
  batch_ = stream_->next();
}

diffusion::NoiseDraw DenoiserTask::draw(const Slice& slice) const {
  const auto& facts = stream_->facts();
  const std::int64_t side = facts.latent_size;
  const std::int64_t tokens = (side / model_->patch_size()) * (side / model_->patch_size());
  const std::int64_t pixels = facts.channels * side * side;
  diffusion::NoiseDraw out;
  out.time_normal_B = torch::empty({slice.count});
  out.noise_BCHW = torch::empty({slice.count, facts.channels, side, side});
  if (config_.mask_ratio > 0) out.mask_noise_BT = torch::empty({slice.count, tokens});
  const auto seed = static_cast<std::uint64_t>(config_.loop.seed);
  for (std::int64_t i = 0; i < slice.count; ++i) {
    const auto position =
        static_cast<std::uint64_t>(batch_.position[static_cast<std::size_t>(slice.first + i)]);
    out.time_normal_B.data_ptr<float>()[i] = core::CounterRng(seed, core::Purpose::time, position).normal();
    core::CounterRng(seed, core::Purpose::noise, position)
        .fill_normal({out.noise_BCHW.data_ptr<float>() + i * pixels, static_cast<std::size_t>(pixels)});
    if (config_.mask_ratio > 0) {
      core::CounterRng(seed, core::Purpose::mask, position)
          .fill_uniform({out.mask_noise_BT.data_ptr<float>() + i * tokens, static_cast<std::size_t>(tokens)});
    }
  }
  out.time_normal_B = out.time_normal_B.to(device_);
  out.noise_BCHW = out.noise_BCHW.to(device_);
  if (config_.mask_ratio > 0) out.mask_noise_BT = out.mask_noise_BT.to(device_);
  return out;
}

torch::Tensor DenoiserTask::loss(const Slice& slice) {
  const auto& facts = stream_->facts();
  const torch::Tensor x0 = from_half(batch_.latents, slice.first,
                                     {slice.count, facts.channels, facts.latent_size, facts.latent_size})
                               .to(device_, torch::kFloat32);
  const torch::Tensor text =
      from_half(batch_.text, slice.first, {slice.count, facts.text_length, facts.text_width})
          .to(device_, torch::kFloat32);
  return objective_.loss(eval::denoise_fn(*model_), x0, text, draw(slice), config_.mask_ratio,
                         model_->patch_size());
}

void DenoiserTask::prepare_pictures() {
  if (!config_.sampling.prompts.empty()) painter_ = std::make_unique<eval::Painter>(facts_, device_);
}

/// The pictures of every size()-th prompt, from rank() on.
std::vector<image::Image> DenoiserTask::paint_share(comm::Communicator& comm) {
  const SamplingConfig& s = config_.sampling;
  std::vector<std::string> prompts;
  std::vector<std::uint64_t> seeds;
  for (std::size_t i = 0; i < s.prompts.size(); ++i) {
    if (static_cast<int>(i) % comm.size() != comm.rank()) continue;
    prompts.push_back(s.prompts[i]);
    seeds.push_back(core::derive_seed(static_cast<std::uint64_t>(config_.loop.seed), i));
  }
  if (prompts.empty()) return {};
  diffusion::SamplerConfig sampler;
  sampler.steps = s.steps;
  sampler.guidance = s.guidance;
  const EvaluationMode while_painting(*model_);
  return painter_->decode(painter_->latents(*model_, objective_, prompts, seeds, sampler));
}

std::optional<image::Image> DenoiserTask::picture(std::int64_t step, comm::Communicator& comm) {
  if (!painter_) return std::nullopt;
  std::string share;  // "+" and the pictures as PNG, each behind its length; or "-" and an error
  try {
    share = "+";
    for (const image::Image& picture : paint_share(comm)) {
      const std::vector<std::byte> png = image::encode_png(picture);
      share += fmt::format("{} ", png.size());
      share.append(reinterpret_cast<const char*>(png.data()), png.size());
    }
  } catch (const std::exception& error) {
    share = "-" + core::error_to_text(error);
  }
  const std::vector<std::string> shares = comm.all_gather(share);
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

void DenoiserTask::finish(const std::filesystem::path&) {}

}  // namespace microdit::train

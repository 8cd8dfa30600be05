// Batches, noise and loss of denoiser training.
#include "train/denoiser_task.h"

#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/log.h"
#include "core/seed.h"
#include "diffusion/noise.h"
#include "eval/eval_data.h"
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
  try {
    return std::make_unique<stream::LatentStream>(s);
  } catch (const core::UserError& error) {  // the stream's own name of the key is not the user's
    const std::string said = error.what(), theirs = "caption_sources:";
    if (!said.starts_with(theirs)) throw;
    core::user_error("captions:{}", said.substr(theirs.size()));
  }
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

/// A part of the latents' facts as its struct reads it.
template <class T>
T part(const stream::StreamFacts& data, const char* key) {
  return core::load<T>(core::ConfigTree::of_json(data.facts.value(key, core::Json()),
                                                 fmt::format("facts of the latents: {}", key)));
}

eval::RunFacts run_facts(const TrainConfig& config, const stream::StreamFacts& data) {
  eval::RunFacts facts;
  facts.stage = "run";
  facts.size = config.size;
  facts.channels = data.channels;
  facts.latent_size = data.latent_size;
  facts.text_length = data.text_length;
  facts.text_width = data.text_width;
  facts.codec = part<encoders::CodecFacts>(data, "codec");
  facts.text_encoder = part<encoders::TextEncoderFacts>(data, "text_encoder");
  facts.captions = config.captions.empty() ? data.facts.at("caption_sources").get<std::vector<std::string>>()
                                           : config.captions;
  for (const DataSource& source : config.data) {
    // A folder is stored so that it is found from any other one.
    const bool is_folder = source.dataset.find('/') != std::string::npos;
    facts.datasets.push_back(is_folder ? std::filesystem::absolute(source.dataset).lexically_normal().string()
                                       : source.dataset);
  }
  facts.model = config.model;
  facts.objective = config.objective;
  return facts;
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
  stream_->recycle(std::move(batch_));
  batch_ = stream_->next();
}

diffusion::NoiseDraw DenoiserTask::draw(const Slice& slice) const {
  const auto& facts = stream_->facts();
  const std::int64_t patches = facts.latent_size / model_->patch_size();
  std::vector<diffusion::NoiseKey> keys;
  for (std::int64_t i = slice.first; i < slice.first + slice.count; ++i) {
    keys.push_back({static_cast<std::uint64_t>(config_.loop.seed),
                    static_cast<std::uint64_t>(batch_.position[static_cast<std::size_t>(i)])});
  }
  diffusion::NoiseDraw out =
      diffusion::draw_noise(keys, {facts.channels, facts.latent_size, facts.latent_size},
                            config_.mask_ratio > 0 ? patches * patches : 0);
  out.time_normal_B = out.time_normal_B.to(device_);
  out.noise_BCHW = out.noise_BCHW.to(device_);
  if (config_.mask_ratio > 0) out.mask_noise_BT = out.mask_noise_BT.to(device_);
  return out;
}

torch::Tensor DenoiserTask::loss(const Slice& slice) {
  const auto& facts = stream_->facts();
  const torch::Tensor x0 =
      eval::half_rows(batch_.latents, slice.first,
                      {slice.count, facts.channels, facts.latent_size, facts.latent_size})
          .to(device_, torch::kFloat32);
  const torch::Tensor text =
      eval::half_rows(batch_.text, slice.first, {slice.count, facts.text_length, facts.text_width})
          .to(device_, torch::kFloat32);
  return objective_.loss(eval::denoise_fn(*model_), x0, text, draw(slice), config_.mask_ratio,
                         model_->patch_size());
}

void DenoiserTask::prepare_pictures() {
  if (config_.sampling.prompts.empty()) return;
  painter_ = std::make_unique<eval::Painter>(
      facts_, std::filesystem::path(config_.loop.runs) / config_.loop.name, device_);
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
  order.sampler.steps = s.steps;
  order.sampler.guidance = s.guidance;
  order.batch = std::min<std::int64_t>(32, static_cast<std::int64_t>(order.prompts.size()));
  order.bf16 = config_.loop.precision == "bf16" && device_.is_cuda();
  order.keep_going = [&] { return !stop.requested(); };
  const EvaluationMode while_painting(*model_);
  const torch::Tensor sample_BCHW = painter_->paint(*model_, objective_, order).sample_BCHW;
  return sample_BCHW.defined() ? painter_->decode(sample_BCHW) : std::vector<image::Image>();
}

std::optional<image::Image> DenoiserTask::picture(std::int64_t step, comm::Communicator& comm,
                                                  const core::StopFlag& stop) {
  if (!painter_) return std::nullopt;
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

bool DenoiserTask::finish(const std::filesystem::path&, const core::StopFlag&) {
  return true;
}

}  // namespace microdit::train

// Batches, noise and loss of denoiser training.
#include "train/denoiser_task.h"

#include "core/error.h"
#include "core/log.h"
#include "core/utf8.h"
#include "diffusion/noise.h"
#include "eval/batch_condition.h"
#include "eval/denoise_fn.h"
#include "eval/encoder_hashes.h"
#include "models/unet_diffusers.h"
#include "nn/autocast.h"
#include "train/evaluation_mode.h"
#include "train/run_folder.h"
#include "train/start_file.h"

namespace microdit::train {
namespace {

/// Takes a shape from the data; a config that states another one is an error.
void complete(std::int64_t& value, std::int64_t from_data, const char* key) {
  if (value != 0 && value != from_data) {
    core::user_error("model.{}: the config says {}, the latents' manifest says {}; leave the key out", key,
                     value, from_data);
  }
  value = from_data;
}

/// Who makes text rows is there: the latents, a frozen encoder, the model's own text_conditioner.
void check_text_source(const models::DenoiserConfig& model, const stream::RowShape& shape,
                       const encoders::TextEncoderFacts& encoder) {
  if (!model.takes_text()) return;
  if (shape.tokens_only && encoder.kind.empty())
    core::user_error(
        "model.kind={}: the data have no text, their recipe says text.encoder: none; take a model of their "
        "classes (kind: class_dit, num_classes), or make latents by a recipe with an encoder",
        model.kind);
  if (model.text_conditioner && !shape.tokens_only)
    core::user_error(
        "model.text_conditioner: it makes text rows of tokens, and the data hold the rows of a frozen "
        "encoder "
        "({}); make latents by a recipe with text.tokens_only: true, or leave the section out",
        encoder.kind);
  if (!model.text_conditioner && encoder.kind == encoders::kTokenizerAlone)
    core::user_error(
        "model.kind={}: the data hold the tokens of a tokenizer that no encoder belongs to: the model makes "
        "its "
        "own rows of them with a section model.text_conditioner (text_conditioner: {{width: 256}})",
        model.kind);
}

/// Fills the model's shapes and the lengths in place and returns the completed config. `encoder`: of the data.
const TrainConfig& complete_model(TrainConfig& config, const stream::RowShape& facts, std::int64_t samples,
                                  const encoders::TextEncoderFacts& encoder) {
  check_text_source(config.model, facts, encoder);
  config.resolve(samples);
  complete(config.model.in_channels, facts.channels, "in_channels");
  complete(config.model.input_size, facts.latent_size,
           config.model.kind == "unet" ? "input_size (or sample_size)" : "input_size");
  if (auto& conditioner = config.model.text_conditioner) {
    complete(conditioner->length, facts.text_length, "text_conditioner.length");
    if (encoder.vocabulary > 0)
      complete(conditioner->vocabulary, encoder.vocabulary, "text_conditioner.vocabulary");
  } else if (config.model.takes_text()) {
    complete(config.model.caption_channels, facts.text_width, "caption_channels");
  }
  return config;
}

eval::RunFacts run_facts(const TrainConfig& config, const TrainingData& data) {
  const stream::RowShape& shape = data.stream->facts().shape;
  eval::RunFacts facts;
  facts.stage = "run";
  facts.size = config.size;
  facts.channels = shape.channels;
  facts.latent_size = shape.latent_size;
  facts.text_length = shape.text_length;
  facts.text_width = shape.text_width;
  facts.codec = data.codec;
  facts.text_encoder = data.text_encoder;
  facts.captions = data.captions;
  facts.classes = data.stream->facts().facts.value("classes", std::vector<std::string>());
  facts.data = data.sources;
  facts.shuffle_run = data.stream->shuffle_run();
  facts.model = config.model;
  facts.objective = config.objective;
  return facts;
}

/// What the data say of their classes is what the model takes.
void check_classes(const models::DenoiserConfig& model, const core::Json& facts) {
  if (!model.takes_classes()) return;
  const auto names = facts["classes"].get<std::vector<std::string>>();
  if (!names.empty() && std::ssize(names) != model.num_classes)
    core::user_error("model.num_classes={}: the data have {} classes: {}", model.num_classes, names.size(),
                     core::shortened(facts["classes"].dump(), 300));
}

std::string condition_text(const models::DenoiserConfig& model, const stream::RowShape& shape) {
  std::string text;
  if (model.text_conditioner)
    text = fmt::format("{} tokens of {}", shape.text_length, model.text_conditioner->vocabulary);
  else if (model.takes_text())
    text = fmt::format("text {} x {}", shape.text_length, shape.text_width);
  if (model.takes_classes())
    text += fmt::format("{}{} classes", text.empty() ? "" : " and ", model.num_classes);
  return text.empty() ? "no condition" : text;
}

/// A file that diffusers wrote has its network's settings beside it.
void check_start_file(const models::DenoiserConfig& model, const std::string& from) {
  const std::filesystem::path file = start_file(from), settings = file.parent_path() / "config.json";
  if (model.kind == "unet" && !file.empty() && std::filesystem::exists(settings))
    models::demand_same_network(settings, model);
}

}  // namespace

DenoiserTask::DenoiserTask(TrainConfig& config, torch::Device device, comm::Communicator& comm,
                           const core::StopFlag& stop)
    : data_(open_training_data(config, device, comm, stop)),
      shape_(data_.stream->facts().shape),
      config_(complete_model(config, shape_, data_.stream->num_samples(), data_.text_encoder)),
      device_(device),
      objective_(config.objective) {
  model_ = models::make_uninitialized_denoiser(config.model);
  if (config.mask_ratio > 0 && !model_->supports_masking()) {
    core::user_error("mask_ratio={}: model.kind={} cannot be masked; set mask_ratio=0", config.mask_ratio,
                     config.model.kind);
  }
  if (config.caption_drop > 0 && !config.model.has_null())
    core::user_error(
        "caption_drop={}: the model has no null condition to drop to (model.learned_null); set "
        "caption_drop=0",
        config.caption_drop);
  check_classes(config.model, data_.stream->facts().facts);
  comm.on_root([&] { check_start_file(config.model, config.loop.init.from); });
  diffusion::settled(config.sampling.sampler, objective_.config(), "sampling");  // what it refuses
  model_->to(device);
  model_->train();
  if (shape_.tokens_only && config.model.takes_text() && !config.model.text_conditioner) {
    const auto folder = run_folder(config.loop).path();
    eval::hash_encoders_once({}, data_.text_encoder, folder, comm, stop);
    caption_encoder_ = std::make_unique<eval::CaptionEncoder>(data_.text_encoder, folder, device, stop);
  }
  facts_ = run_facts(config, data_);
  core::log_info("data: {} samples of {} px, {}, in runs of {}", data_.stream->num_samples(), config.size,
                 condition_text(config.model, shape_), data_.stream->shuffle_run());
}

void DenoiserTask::start(std::int64_t completed, std::int64_t offset, std::int64_t rows, std::int64_t batch) {
  data_.stream->start(completed * batch + offset, rows, batch);
}

void DenoiserTask::next_batch() {
  data_.stream->recycle(std::move(batch_));
  batch_ = data_.stream->next();
}

diffusion::NoiseDraw DenoiserTask::draw(const Slice& slice) const {
  const std::int64_t patches = shape_.latent_size / model_->patch_size();
  std::vector<diffusion::NoiseKey> keys;
  for (std::int64_t i = slice.first; i < slice.first + slice.count; ++i) {
    keys.push_back({static_cast<std::uint64_t>(config_.loop.seed),
                    static_cast<std::uint64_t>(batch_.position[static_cast<std::size_t>(i)])});
  }
  diffusion::NoiseDraw out = diffusion::draw_noise(keys, objective_.time_draw(),
                                                   {shape_.channels, shape_.latent_size, shape_.latent_size},
                                                   config_.mask_ratio > 0 ? patches * patches : 0);
  out.time_B = out.time_B.to(device_);
  out.noise_BCHW = out.noise_BCHW.to(device_);
  if (config_.mask_ratio > 0) out.mask_noise_BT = out.mask_noise_BT.to(device_);
  return out;
}

torch::Tensor DenoiserTask::loss(const Slice& slice) {
  const diffusion::NoiseDraw noise = draw(slice);  // before the copies, which may wait for the device
  const torch::Tensor x0 =
      eval::half_rows(batch_.latents, slice.first,
                      {slice.count, shape_.channels, shape_.latent_size, shape_.latent_size})
          .to(device_)
          .to(torch::kFloat32);  // there: half the bytes to copy
  const diffusion::Condition condition =
      eval::with_learned_null(*model_, config_.model,
                              eval::batch_condition(batch_, slice.first, slice.count, shape_, config_.model,
                                                    caption_encoder_.get(), device_),
                              eval::captioned_rows(batch_, slice.first, slice.count));
  const diffusion::Losses losses = objective_.losses(eval::denoise_fn(*model_), x0, condition, noise,
                                                     config_.mask_ratio, model_->patch_size());
  add_level_losses(noise.time_B, losses.sample_B);
  return losses.mean;
}

void DenoiserTask::add_level_losses(const torch::Tensor& draw_B, const torch::Tensor& losses_B) {
  const torch::Tensor shares = objective_.shares(draw_B).to(torch::kCPU),
                      losses = losses_B.to(torch::kCPU, torch::kDouble);
  for (std::int64_t i = 0; i < shares.numel(); ++i) {
    const double place = shares.const_data_ptr<double>()[i] * static_cast<double>(kLossLevels);
    const auto level = std::min(static_cast<std::size_t>(place), kLossLevels - 1);
    level_losses_[level] += losses.const_data_ptr<double>()[i];
    level_losses_[kLossLevels + level] += 1;
  }
}

void DenoiserTask::check_start(const core::Json& facts) const {
  if (!config_.model.text_conditioner) return;  // a frozen encoder's rows may be learned anew
  const std::string before = facts.value("text_encoder", core::Json::object()).value("tokenizer_sha256", "");
  const std::string& now = facts_.text_encoder.tokenizer_sha256;
  if (!before.empty() && before != now)
    core::user_error(
        "init.from={}: its text_conditioner learned the tokens of another tokenizer (SHA-256 {}, of these "
        "data {}); "
        "make the data's tokens with that one, or start without init.from",
        config_.loop.init.from, before.substr(0, 12), now.substr(0, 12));
}

std::string DenoiserTask::prepare_validation(comm::Communicator& comm) {
  validation_.emplace(config_.validation, facts_, run_folder(config_.loop).path(),
                      [&comm](const std::function<std::string()>& work) { return comm.on_root(work); });
  return validation_->version();
}

std::optional<Validated> DenoiserTask::validate(comm::Communicator& comm, const core::StopFlag& stop) {
  const EvaluationMode while_measuring(*model_);
  const nn::Autocast autocast(config_.loop.precision == "bf16", device_);
  return validation_->measure(*model_, objective_, device_, comm, stop);
}

}  // namespace microdit::train

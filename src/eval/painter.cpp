// Sampling with a denoiser and its encoders.
#include "eval/painter.h"

#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <set>

#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/seed.h"
#include "core/utf8.h"
#include "diffusion/noise.h"
#include "eval/denoise_fn.h"
#include "eval/prompts.h"
#include "eval/trajectory.h"
#include "nn/autocast.h"

namespace microdit::eval {
namespace {

/// Items [first, first + count), the last one again and again behind the end.
template <class T>
std::vector<T> filled(const std::vector<T>& items, std::size_t first, std::size_t count) {
  std::vector<T> out;
  for (std::size_t i = first; i < first + count; ++i) out.push_back(items[std::min(i, items.size() - 1)]);
  return out;
}

/// Tells now and then how far a batch is that takes long: after 5 s, 15 s, 35 s ...
class SlowBatch {
 public:
  SlowBatch(std::int64_t steps, std::int64_t evaluations_per_step)
      : steps_(steps), per_step_(evaluations_per_step) {}

  /// Before an evaluation of the network.
  void evaluation() {
    const std::int64_t step = evaluations_++ / per_step_;
    const double taken_s = std::chrono::duration<double>(Clock::now() - begin_).count();
    if (taken_s < next_s_ || step == 0) return;
    next_s_ = 2 * taken_s + kFirst_s;
    core::log_info(
        "painting: sampler step {} of {}, {} left for this batch", step + 1, steps_,
        core::duration_text(taken_s * static_cast<double>(steps_ - step) / static_cast<double>(step)));
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr double kFirst_s = 5;

  std::int64_t steps_, per_step_, evaluations_ = 0;
  Clock::time_point begin_ = Clock::now();
  double next_s_ = kFirst_s;
};

/// UserError where the run's data named none.
template <class Facts>
const Facts& named(const Facts& facts, const char* what, const char* key) {
  if (facts.kind.empty())
    core::user_error(
        "the run's facts.json names no {}: no pictures can be painted with it (of an MDS folder data.{} says "
        "which; made-up data have none)",
        what, key);
  return facts;
}

}  // namespace

Painter::Painter(const RunFacts& facts, const std::filesystem::path& run_folder, torch::Device device,
                 const core::StopFlag& stop)
    : device_(device),
      channels_(facts.channels),
      latent_size_(facts.latent_size),
      text_length_(facts.text_length),
      codec_(encoders::find_image_codec(named(facts.codec, "codec", "codec"), run_folder, stop)),
      model_(facts.model),
      classes_(facts.classes) {
  codec_->to(device);
  if (!model_.takes_text()) return;
  const auto& text = named(facts.text_encoder, "text encoder", "text_encoder");
  if (model_.text_conditioner) {
    tokenizer_ = encoders::find_tokenizer(text, run_folder, stop);
    return;
  }
  text_encoder_ = encoders::find_text_encoder(text, run_folder, stop);
  text_encoder_->to(device);
}

void Painter::warn_of_cut(const std::vector<std::string>& prompts, const std::string& class_name) const {
  if (!class_name.empty() && !(model_.takes_text() && model_.takes_classes()))
    core::user_error("class={}: the model is conditioned on {}; leave the key out{}", class_name,
                     model_.takes_text()      ? "text alone"
                     : model_.takes_classes() ? "classes alone"
                                              : "nothing",
                     !model_.takes_text() && model_.takes_classes() ? " and give --class" : "");
  if (!class_name.empty()) class_of_prompt(class_name, classes_, model_.num_classes);
  if (!model_.takes_text()) {
    encode(prompts, "");  // what it refuses
    return;
  }
  const encoders::Tokenizer& tokenizer = tokenizer_ ? *tokenizer_ : text_encoder_->tokenizer();
  constexpr std::size_t kTold = 20;
  std::size_t cut = 0;
  for (const std::string& prompt : std::set<std::string>(prompts.begin(), prompts.end())) {
    const std::string unseen = encoders::unseen_end(tokenizer, prompt, text_length_);
    if (unseen.empty()) continue;
    if (++cut > kTold) continue;
    const std::size_t seen = prompt.size() - unseen.size();
    core::log_warn("the prompt \"{}\" is longer than {} tokens; not seen: \"{}\"",
                   core::shortened(prompt.substr(0, seen), 60), text_length_, core::shortened(unseen, 600));
  }
  if (cut > kTold) core::log_warn("{} prompts in all are longer than {} tokens", cut, text_length_);
}

diffusion::Condition Painter::encode(const std::vector<std::string>& prompts,
                                     const std::string& class_name) const {
  if (!model_.takes_text()) {
    std::vector<std::int64_t> numbers;
    for (const std::string& prompt : prompts) {
      if (model_.takes_classes())
        numbers.push_back(class_of_prompt(prompt, classes_, model_.num_classes));
      else if (prompt != kNoCondition)
        core::user_error("\"{}\": the model is conditioned on nothing; its only prompt is \"{}\"",
                         core::shortened(prompt, 60), kNoCondition);
    }
    if (numbers.empty()) return {};
    return {.class_B = torch::tensor(numbers, torch::kLong).to(device_)};
  }
  const auto seen = [&](const std::vector<std::int64_t>& num_tokens) {
    return torch::arange(text_length_) < torch::tensor(num_tokens, torch::kInt64).unsqueeze(1);
  };
  diffusion::Condition text;
  if (tokenizer_) {
    encoders::TokenRows rows = encoders::tokenize(*tokenizer_, prompts, text_length_);
    text.tokens_BL = torch::from_blob(rows.ids.data(), {std::ssize(prompts), text_length_}, torch::kInt32)
                         .to(torch::kLong);
    text.text_mask_BL = seen(rows.num_tokens);
  } else {
    const encoders::EncodedText encoded = text_encoder_->encode(prompts, text_length_);
    // Through fp16, as the training rows were stored.
    text.text_BLD = encoded.states_BLD.to(torch::kFloat16).to(torch::kFloat32).to(device_);
    if (model_.text_mask) text.text_mask_BL = seen(encoded.num_tokens).to(device_);
  }
  if (model_.takes_classes()) {
    const std::int64_t number = class_name.empty()
                                    ? model_.num_classes  // none: the one that was learned for that
                                    : class_of_prompt(class_name, classes_, model_.num_classes);
    text.class_B = torch::full({std::ssize(prompts)}, number, torch::kLong).to(device_);
  }
  return text;
}

Painting Painter::paint(models::Denoiser& model, const diffusion::Objective& objective,
                        const PaintOrder& order) const {
  core::check(order.prompts.size() == order.seeds.size() && !order.prompts.empty(), "{} prompts, {} seeds",
              order.prompts.size(), order.seeds.size());
  core::check(!model.is_training(), "painting with a network in training mode");
  demand_paintable(order.sampler, model_, !order.class_name.empty());
  const torch::NoGradGuard no_grad;
  const nn::Autocast cast_once(order.bf16, device_);
  const auto fn = denoise_fn(model);  // bare: the sampler applies guidance
  const std::int64_t per_step =
      diffusion::step_rule(diffusion::settled(order.sampler, objective.config()), objective.config())
          .evaluations;
  const std::int64_t latent_CHW[] = {channels_, latent_size_, latent_size_};
  std::vector<torch::Tensor> units, texts, masks, tokens, classes, samples, ways;
  const auto batch = static_cast<std::size_t>(order.batch);
  const auto rows_of = [&](const std::vector<std::string>& prompts, const std::string& class_name) {
    return with_text_rows(model, encode(prompts, class_name));
  };
  const diffusion::Condition negative = order.negative.empty()
                                            ? diffusion::Condition()
                                            : rows_of(std::vector<std::string>(batch, order.negative),
                                                      model_.learned_null ? "" : order.class_name);
  const auto null_of = [&](const diffusion::Condition& condition) {
    if (!order.negative.empty()) return negative;
    return model_.has_null() ? null_like(model, condition) : diffusion::Condition();
  };
  for (std::size_t first = 0; first < order.prompts.size(); first += batch) {
    const std::vector<std::uint64_t> seeds = filled(order.seeds, first, batch);
    const auto noise = [&](core::Purpose purpose, std::uint64_t step) {
      std::vector<diffusion::NoiseKey> keys;
      for (const std::uint64_t seed : seeds) keys.push_back({.seed = seed, .a = step});
      return diffusion::normal_rows(keys, purpose, latent_CHW);
    };
    const auto step_noise = [&](std::int64_t step) {
      return noise(core::Purpose::churn, static_cast<std::uint64_t>(step)).to(device_);
    };
    const torch::Tensor unit = noise(core::Purpose::sampler, 0);
    const diffusion::Condition condition = rows_of(filled(order.prompts, first, batch), order.class_name);
    SlowBatch slow(order.sampler.steps, per_step);
    const auto keep_going = [&] {
      slow.evaluation();
      return !order.keep_going || order.keep_going();
    };
    Trajectory states(order.trajectory, order.sampler.steps, unit);
    const torch::Tensor sample = diffusion::sample(
        objective, fn, order.sampler,
        {.unit_BCHW = unit.to(device_),
         .condition = condition,
         .null = null_of(condition),
         .step_noise = step_noise,
         .keep_going = keep_going,
         .each_step = [&](std::int64_t step, const torch::Tensor& x) { states.after(step, x); }});
    if (!sample.defined()) return {};
    const torch::Tensor way = states.with(sample.cpu());
    const auto rows = static_cast<std::int64_t>(std::min(batch, order.prompts.size() - first));
    units.push_back(unit.narrow(0, 0, rows));
    const auto keep = [&](std::vector<torch::Tensor>& kept, const torch::Tensor& tensor) {
      if (tensor.defined()) kept.push_back(tensor.narrow(0, 0, rows).cpu().to(torch::kFloat32));
    };
    keep(ways, way);
    keep(texts, condition.text_BLD);
    keep(masks, condition.text_mask_BL);
    keep(tokens, condition.tokens_BL);
    keep(classes, condition.class_B);
    samples.push_back(sample.narrow(0, 0, rows).cpu());
  }
  const auto joined = [](const std::vector<torch::Tensor>& rows) {
    return rows.empty() ? torch::Tensor() : torch::cat(rows);
  };
  const auto of_each = [&](const torch::Tensor& rows) {  // the negative prompt's, as those of the others
    if (!rows.defined()) return torch::Tensor();
    std::vector<std::int64_t> shape = rows.sizes().vec();
    shape[0] = static_cast<std::int64_t>(order.prompts.size());
    return rows.narrow(0, 0, 1).expand(shape).cpu().to(torch::kFloat32).contiguous();
  };
  return {.unit_BCHW = joined(units),
          .text_BLD = joined(texts),
          .class_B = joined(classes),
          .text_mask_BL = joined(masks),
          .negative_BLD = of_each(negative.text_BLD),
          .negative_mask_BL = of_each(negative.text_mask_BL),
          .negative_class_B = of_each(negative.class_B),
          .tokens_BL = joined(tokens),
          .negative_tokens_BL = of_each(negative.tokens_BL),
          .sample_BCHW = joined(samples),
          .states_BKCHW = joined(ways)};
}

std::vector<image::Image> Painter::decode(const torch::Tensor& latents, std::int64_t batch,
                                          const diffusion::KeepGoing& keep_going) const {
  constexpr std::int64_t kMost = 16;
  const torch::NoGradGuard no_grad;
  const std::int64_t rows = batch > 0 ? std::min(batch, kMost) : kMost;
  std::vector<image::Image> pictures;
  for (std::int64_t first = 0; first < latents.size(0); first += rows) {
    if (keep_going && !keep_going()) break;
    const std::int64_t count = std::min(rows, latents.size(0) - first);
    torch::Tensor some = latents.narrow(0, first, count);
    if (batch > 0 && count < rows)
      some = torch::cat({some, some.slice(0, -1).expand({rows - count, -1, -1, -1})});
    std::vector<image::Image> decoded = to_images(codec_->decode(some));
    std::move(decoded.begin(), decoded.begin() + count, std::back_inserter(pictures));
  }
  return pictures;
}

void demand_paintable(const diffusion::SamplerConfig& sampler, const models::DenoiserConfig& model,
                      bool with_class) {
  if (sampler.guidance != 1 && !model.has_null())
    core::user_error(
        "guidance={}: the model has learned no null condition (model.learned_null) to guide away from; "
        "guidance=1 (of a training: sampling.guidance=1, or sampling.every_steps=0)",
        sampler.guidance);
  if (model.takes_text() && model.takes_classes() && !model.learned_null && !with_class)
    core::user_error(
        "the model is conditioned on text and classes, a prompt says no class, and it has learned none for "
        "that: say which (generate: class=NAME); of a training: model.learned_null=true, or "
        "sampling.every_steps=0");
}

std::vector<image::Image> to_images(const torch::Tensor& pixels_BHW3) {
  const torch::Tensor pixels = pixels_BHW3.to(torch::kCPU).contiguous();
  std::vector<image::Image> pictures;
  for (std::int64_t i = 0; i < pixels.size(0); ++i) {
    image::Image picture(pixels.size(1), pixels.size(2));
    std::memcpy(picture.pixels.data(), pixels[i].data_ptr<std::uint8_t>(), picture.pixels.size());
    pictures.push_back(std::move(picture));
  }
  return pictures;
}

}  // namespace microdit::eval

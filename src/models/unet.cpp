// Composition and forward pass.
#include "models/unet.h"

#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/log.h"
#include "models/check_condition.h"
#include "models/drawn.h"
#include "nn/precision.h"

namespace microdit::models {
namespace {

/// sin | cos (or cos | sin: `cos_first`) of t * 10000^(-i / (half - shift)), fp32 and rounded as diffusers does it: t is large.
torch::Tensor time_waves(const torch::Tensor& t_B, const UnetConfig& c) {
  const std::int64_t width = c.block_out_channels[0], half = width / 2;
  const torch::Tensor exponents =
      -std::log(10000.0) * torch::arange(0, half, t_B.options().dtype(torch::kFloat));
  const torch::Tensor angles =
      t_B.to(torch::kFloat).unsqueeze(1) * torch::exp(exponents / (static_cast<double>(half) - c.freq_shift));
  const torch::Tensor sin = angles.sin(), cos = angles.cos();
  const torch::Tensor waves = c.flip_sin_to_cos ? torch::cat({cos, sin}, 1) : torch::cat({sin, cos}, 1);
  return width % 2 == 0 ? waves : at::constant_pad_nd(waves, {0, 1});
}

StageSizes::Attends attends(const std::string& type) {
  if (type.find("CrossAttn") != type.npos) return StageSizes::Attends::text;
  return type.starts_with("Attn") ? StageSizes::Attends::pixels : StageSizes::Attends::nothing;
}

StageSizes middle_sizes(const UnetConfig& c) {
  const std::int64_t width = c.block_out_channels.back(), last = c.levels() - 1;
  StageSizes s;
  s.out = width;
  s.divisor = c.mid_block_scale_factor;
  s.heads = UnetConfig::at(c.attention_head_dim, last);
  s.transformer_layers = UnetConfig::at(c.transformer_layers_per_block, last);
  s.attention_groups = c.norm_num_groups;
  s.attends = attends(c.mid_block_type);
  if (c.is_plain() && c.add_attention) {
    s.attends = StageSizes::Attends::pixels;
    // diffusers: where the time scales the norms there is no other norm, unless the config says so.
    if (c.attn_norm_num_groups > 0)
      s.attention_groups = c.attn_norm_num_groups;
    else if (c.resnet_time_scale_shift != "default")
      s.attention_groups = 0;
  }
  s.attentions = 1;
  const bool alone = !c.is_plain() && s.attends == StageSizes::Attends::nothing;
  s.in.assign(alone ? 1 : 2, width);
  return s;
}

/// A norm with one channel to a group takes away again what is the same for all pixels of a channel: time and class, where they are
/// added before it.
void warn_of_deaf_norms(const UnetConfig& c) {
  if (c.resnet_time_scale_shift != "default" ||
      std::ranges::find(c.block_out_channels, c.norm_num_groups) == c.block_out_channels.end())
    return;
  core::log_warn(
      "model.norm_num_groups: {} is a width of block_out_channels, too: with one channel to a group the norm "
      "takes "
      "the time (and class) away again in those levels; take fewer groups, or "
      "resnet_time_scale_shift=scale_shift",
      c.norm_num_groups);
}

}  // namespace

Unet::Unet(const DenoiserConfig& config) : config_(config) {
  const UnetConfig& c = config_.unet;
  warn_of_deaf_norms(c);
  const std::int64_t first = c.block_out_channels[0], time = c.time_width();
  conv_in_ = register_module("conv_in", std::make_shared<Conv>(config_.in_channels, first, 3));
  const auto embedding = register_module("time_embedding", std::make_shared<torch::nn::Module>());
  time1_ = embedding->register_module("linear_1", std::make_shared<nn::Linear>(first, time, true));
  time2_ = embedding->register_module("linear_2", std::make_shared<nn::Linear>(time, time, true));
  if (config_.num_classes > 0)
    classes_ = register_module("class_embedding", std::make_shared<torch::nn::Module>())
                   ->register_parameter(
                       "weight", torch::empty({config_.num_classes + (config_.learned_null ? 1 : 0), time}));
  add_stages();
  norm_out_ =
      register_module("conv_norm_out", std::make_shared<GroupNorm>(first, c.norm_num_groups, c.norm_eps));
  conv_out_ = register_module("conv_out", std::make_shared<Conv>(first, config_.in_channels, 3));
}

void Unet::add_stages() {
  const UnetConfig& c = config_.unet;
  const std::int64_t levels = c.levels();
  const auto width = [&](std::int64_t level) { return UnetConfig::at(c.block_out_channels, level); };
  const auto sizes = [&](std::int64_t level, const std::string& type) {
    StageSizes s;
    s.out = width(level);
    s.attends = attends(type);
    s.heads = UnetConfig::at(c.attention_head_dim, level);
    s.attention_groups = c.norm_num_groups;
    s.transformer_layers = UnetConfig::at(c.transformer_layers_per_block, level);
    return s;
  };
  const auto down = register_module("down_blocks", std::make_shared<torch::nn::Module>());
  for (std::int64_t i = 0; i < levels; ++i) {
    StageSizes s = sizes(i, c.down_block_types[static_cast<std::size_t>(i)]);
    s.in.assign(static_cast<std::size_t>(UnetConfig::at(c.layers_per_block, i)), s.out);
    s.in[0] = width(std::max<std::int64_t>(i - 1, 0));
    s.attentions = std::ssize(s.in);
    if (i + 1 < levels) s.change = StageSizes::Change::down;
    down_.push_back(down->register_module(std::to_string(i), std::make_shared<UnetStage>(config_, s)));
  }
  if (c.mid_block_type != "none")
    middle_ = register_module("mid_block", std::make_shared<UnetStage>(config_, middle_sizes(c)));
  const auto up = register_module("up_blocks", std::make_shared<torch::nn::Module>());
  for (std::int64_t i = 0; i < levels; ++i) {
    const std::int64_t level = levels - 1 - i;
    StageSizes s = sizes(level, c.up_block_types[static_cast<std::size_t>(i)]);
    // diffusers counts these from the coarsest level, and only these.
    if (s.attends == StageSizes::Attends::pixels) s.heads = UnetConfig::at(c.attention_head_dim, i);
    // One block for each skip of the level, and one for what came into the level.
    s.in.assign(static_cast<std::size_t>(UnetConfig::at(c.layers_per_block, level)) + 1, 2 * s.out);
    s.in.front() += width(std::min(level + 1, levels - 1)) - s.out;
    s.in.back() += width(std::max<std::int64_t>(level - 1, 0)) - s.out;
    s.attentions = std::ssize(s.in);
    if (level > 0) s.change = StageSizes::Change::up;
    up_.push_back(up->register_module(std::to_string(i), std::make_shared<UnetStage>(config_, s)));
  }
}

void Unet::initialize(std::uint64_t seed) {
  const auto parameters = named_parameters();
  draw_parameters(*this, seed, [&](std::string_view name, const torch::Tensor& parameter) -> Rule {
    if (name == "class_embedding.weight") return {Law::normal, 1};
    const bool is_bias = name.ends_with(".bias");
    const std::string own(name);
    // Layers of attention have a bias-free sibling in every case: the weight tells the number of inputs.
    const torch::Tensor weight = is_bias ? parameters[own.substr(0, own.size() - 4) + "weight"] : parameter;
    if (weight.dim() == 1) return {is_bias ? Law::zeros : Law::ones};  // a norm
    return {Law::uniform, 1 / std::sqrt(static_cast<double>(weight.numel() / weight.size(0)))};
  });
}

/// In the order in which they run.
std::vector<BlockModules> Unet::blocks() const {
  std::vector<std::shared_ptr<UnetStage>> stages = down_;
  if (middle_) stages.push_back(middle_);
  stages.insert(stages.end(), up_.begin(), up_.end());
  std::vector<BlockModules> all;
  for (const auto& stage : stages)
    for (std::int64_t i = 0; i < stage->steps(); ++i) all.push_back(stage->modules_of_step(i));
  return all;
}

void Unet::check_input(const torch::Tensor& x, const torch::Tensor& noise_label,
                       const Condition& condition) const {
  const DenoiserConfig& c = config_;
  const std::int64_t batch = x.dim() > 0 ? x.size(0) : 0;
  const std::int64_t smallest = c.unet.downsample_padding == 0 ? std::int64_t{1} << (c.unet.levels() - 1) : 1;
  if (x.dim() != 4 || x.size(1) != c.in_channels || x.size(2) < smallest || x.size(3) < smallest)
    core::user_error("x has shape {}; the model takes [B, {}, H, W] (in_channels), H and W {} at least",
                     c10::str(x.sizes()), c.in_channels, smallest);
  if (noise_label.dim() != 1 || noise_label.size(0) != batch)
    core::user_error("the noise label has shape {} and must be [{}]", c10::str(noise_label.sizes()), batch);
  if (classes_.defined()) check_classes(condition.class_B, batch, classes_.size(0), c.num_classes);
  if (!c.takes_text()) return;
  const torch::Tensor &text = condition.text_BLD, &seen = condition.text_mask_BL;
  check_text(text, batch, c.caption_channels);
  if (c.text_mask && !seen.defined())
    core::user_error("model.text_mask: true: the text rows {} come without a mask", c10::str(text.sizes()));
  if (seen.defined() && (seen.sizes() != text.sizes().slice(0, 2) || seen.scalar_type() != torch::kBool))
    core::user_error("the text rows {} come with a mask {} of {}; it must be a bool for each of them",
                     c10::str(text.sizes()), c10::str(seen.sizes()), c10::toString(seen.scalar_type()));
}

Condition Unet::null_like(const Condition& condition) const {
  Condition null = condition;
  if (config_.takes_text()) {
    null.text_BLD = torch::zeros_like(condition.text_BLD);
    if (condition.text_mask_BL.defined()) null.text_mask_BL = torch::zeros_like(condition.text_mask_BL);
  }
  if (config_.learned_null) null.class_B = torch::full_like(condition.class_B, config_.num_classes);
  core::check(config_.has_null(),
              "a U-Net without text and without model.learned_null has no null condition");
  return null;
}

// Hidden rows are zero from here on: whatever lies in them has no part in values or gradients. Without any token, one zero row is seen.
Unet::Seen Unet::seen_text(const Condition& condition) const {
  if (!config_.takes_text()) return {};
  const torch::Tensor& mask = condition.text_mask_BL;
  if (!mask.defined()) return {condition.text_BLD, {}};
  torch::Tensor seen = mask.clone();
  seen.select(1, 0).logical_or_(mask.any(1).logical_not());
  return {condition.text_BLD.masked_fill(mask.logical_not().unsqueeze(-1), 0), seen};
}

/// [B, D], fp32: what every residual block takes.
torch::Tensor Unet::activated_time(const torch::Tensor& noise_label_B, const Condition& condition) const {
  const UnetConfig& c = config_.unet;
  const nn::Fp32Island island(noise_label_B.device());
  const torch::Tensor hidden =
      unet_activation(c.is_plain() ? "silu" : c.act_fn, time1_->forward_fp32(time_waves(noise_label_B, c)));
  torch::Tensor time = time2_->forward_fp32(hidden);
  if (classes_.defined()) time = time + at::embedding(classes_, condition.class_B);
  return unet_activation(c.act_fn, time);
}

Prediction Unet::forward(const torch::Tensor& x_BCHW, const torch::Tensor& noise_label_B,
                         const Condition& condition, const std::optional<Mask>& mask) {
  core::check(!mask || mask->ratio == 0, "a U-Net cannot be masked");
  check_input(x_BCHW, noise_label_B, condition);
  const UnetConfig& c = config_.unet;
  const torch::Tensor time = activated_time(noise_label_B, condition);
  const Seen text = seen_text(condition);
  std::int64_t number = 0;
  const auto run = [&](const UnetStage& stage, std::int64_t i, const torch::Tensor& x,
                       const torch::Tensor& skip) {
    const auto call = [&stage, i](const std::vector<torch::Tensor>& in) {
      return stage.step(i, in[0], in[1], in[2], in[3], in[4]);
    };
    return run_block(number++, call, {x, skip, time, text.rows_BLD, text.seen_BL});
  };
  torch::Tensor x = c.center_input_sample ? 2 * x_BCHW - 1 : x_BCHW;
  x = conv_in_->forward(x);
  std::vector<torch::Tensor> skips{x};
  for (const auto& stage : down_) {
    for (std::int64_t i = 0; i < stage->steps(); ++i) skips.push_back(x = run(*stage, i, x, {}));
    if (stage->changes()) skips.push_back(x = stage->halved(x));
  }
  for (std::int64_t i = 0; middle_ && i < middle_->steps(); ++i) x = run(*middle_, i, x, {});
  for (const auto& stage : up_) {
    for (std::int64_t i = 0; i < stage->steps(); ++i) {
      x = run(*stage, i, x, skips.back());
      skips.pop_back();
    }
    if (stage->changes()) x = stage->enlarged(x, skips.back().sizes().slice(2));
  }
  x = unet_activation(c.is_plain() ? "silu" : c.act_fn, norm_out_->forward(x));
  return {conv_out_->forward(x).contiguous(), {}};
}

}  // namespace microdit::models

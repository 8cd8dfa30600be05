// Composition and forward pass.
#include "models/class_dit.h"

#include <torch/utils.h>

#include <cmath>
#include <limits>
#include <string_view>

#include "core/error.h"
#include "models/check_condition.h"
#include "models/drawn.h"
#include "nn/patch.h"

namespace microdit::models {
namespace {

constexpr double kLayerNormEps = 1e-5;

/// sin and cos of position x frequency by turns, 10000^(-i / count): positions [N] -> [N, 2 count].
torch::Tensor frequencies(std::int64_t count) {
  const torch::Tensor i = torch::arange(count, torch::kLong);
  return 1 / torch::pow(10, 4 * i / count);
}
torch::Tensor by_turns(const torch::Tensor& angles) {
  return torch::stack({angles.sin(), angles.cos()}, -1).flatten(-2);
}

/// [T, D]: of each frequency sin x, cos x, sin y, cos y, where x is the patch's column and y its row.
torch::Tensor positions(std::int64_t side, std::int64_t dim) {
  const torch::Tensor omega = frequencies(dim / 4), places = torch::arange(side, torch::kLong);
  const torch::Tensor x = places.repeat({side}), y = places.repeat_interleave(side);
  const torch::Tensor xy = torch::stack({x, y}, 1).unsqueeze(1);  // [T, 1, 2]
  return by_turns((xy * omega.view({1, -1, 1})).flatten(1));
}

torch::Tensor activate(const std::string& name, const torch::Tensor& x) {
  if (name == "silu") return at::silu(x);
  if (name == "gelu") return at::gelu(x);
  if (name == "relu") return at::relu(x);
  return at::mish(x);
}

}  // namespace

AdaLnSingle::AdaLnSingle(std::int64_t dim, std::int64_t depth) {
  const auto time_mlp = register_module("time_mlp", std::make_shared<torch::nn::Module>());
  linear_ = time_mlp->register_module("0", std::make_shared<nn::Linear>(dim, 6 * dim, true));
  layer_embeddings_ = register_parameter("layer_embeddings", torch::empty({depth, 6 * dim}));
}

torch::Tensor AdaLnSingle::shared(const torch::Tensor& time_BD) const {
  return at::silu(linear_->forward(time_BD));
}

std::vector<torch::Tensor> AdaLnSingle::of_block(const torch::Tensor& shared_BD, std::int64_t block) const {
  return (shared_BD + layer_embeddings_.select(0, block)).unsqueeze(1).chunk(6, -1);
}

BlockNorm::BlockNorm(const std::string& kind, std::int64_t dim) {
  weight_ = register_parameter("weight", torch::empty({dim}));
  if (kind == "layer") bias_ = register_parameter("bias", torch::empty({dim}));
}

torch::Tensor BlockNorm::forward(const torch::Tensor& x) const {
  const torch::Tensor wide =
      x.to(weight_.scalar_type());  // of bf16, torch's fused kernels take no fp32 weights
  return bias_.defined() ? at::layer_norm(wide, weight_.sizes(), weight_, bias_, kLayerNormEps)
                         : at::rms_norm(wide, weight_.sizes(), weight_, std::nullopt);
}

/// torch's MultiheadAttention by its names: queries from the tokens, keys and values also from the context.
class JointAttention : public torch::nn::Module {
 public:
  JointAttention(std::int64_t dim, std::int64_t num_heads) : num_heads_(num_heads) {
    weight_ = register_parameter("in_proj_weight", torch::empty({3 * dim, dim}));
    bias_ = register_parameter("in_proj_bias", torch::empty({3 * dim}));
    out_ = register_module("out_proj", std::make_shared<nn::Linear>(dim, dim, true));
  }
  /// `seen`: bool [B, 1, 1, T + L], or undefined: all keys.
  torch::Tensor forward(const torch::Tensor& x_BTD, const torch::Tensor& context_BLD,
                        const torch::Tensor& seen) const {
    const std::int64_t dim = x_BTD.size(-1);
    const std::vector<torch::Tensor> own = at::linear(x_BTD, weight_, bias_).chunk(3, -1);
    const std::vector<torch::Tensor> more =
        at::linear(context_BLD, weight_.slice(0, dim), bias_.slice(0, dim)).chunk(2, -1);
    const auto heads = [&](const torch::Tensor& t) {
      return t.unflatten(-1, {num_heads_, dim / num_heads_}).transpose(1, 2);
    };
    const torch::Tensor mixed = at::scaled_dot_product_attention(
        heads(own[0]), heads(torch::cat({own[1], more[0]}, 1)), heads(torch::cat({own[2], more[1]}, 1)),
        seen.defined() ? std::optional(seen) : std::nullopt);
    return out_->forward(mixed.transpose(1, 2).flatten(2));
  }

 private:
  torch::Tensor weight_, bias_;
  std::shared_ptr<nn::Linear> out_;
  std::int64_t num_heads_;
};

class ClassDitBlock : public torch::nn::Module {
 public:
  ClassDitBlock(const DenoiserConfig& c, std::int64_t number, const std::shared_ptr<AdaLnSingle>& adaln)
      : number_(number), activation_(c.activation), discards_gate_(c.compat == "nano") {
    adaln_ = register_module("adaln_single", adaln);
    norm_ = register_module("normalization_layer", std::make_shared<BlockNorm>(c.norm, c.dim));
    attention_ = register_module("multi_head_attn", std::make_shared<JointAttention>(c.dim, c.num_heads));
    const auto mlp = register_module("feedforward", std::make_shared<torch::nn::Module>());
    first_ = mlp->register_module("0", std::make_shared<nn::Linear>(c.dim, 4 * c.dim, true));
    second_ = mlp->register_module("2", std::make_shared<nn::Linear>(4 * c.dim, c.dim, true));
  }
  /// One norm serves everywhere, before the layers and behind them.
  torch::Tensor forward(const torch::Tensor& x_BTD, const torch::Tensor& context_BLD,
                        const torch::Tensor& shared_BD, const torch::Tensor& seen) const {
    const std::vector<torch::Tensor> p = adaln_->of_block(shared_BD, number_);
    const torch::Tensor attended =
        attention_->forward(p[2] * norm_->forward(x_BTD) + p[0], context_BLD, seen);
    // The original computes the gated value and goes on with the other.
    const torch::Tensor x = x_BTD + (discards_gate_ ? attended : p[4] * norm_->forward(attended));
    const torch::Tensor hidden = activate(activation_, first_->forward(p[3] * norm_->forward(x) + p[1]));
    return x + p[5] * norm_->forward(second_->forward(hidden));
  }

 private:
  std::int64_t number_;
  std::string activation_;
  bool discards_gate_;
  std::shared_ptr<AdaLnSingle> adaln_;  ///< all blocks' one
  std::shared_ptr<BlockNorm> norm_;
  std::shared_ptr<JointAttention> attention_;
  std::shared_ptr<nn::Linear> first_, second_;
};

ClassDit::ClassDit(const DenoiserConfig& config) : config_(config) {
  const DenoiserConfig& c = config_;
  const std::int64_t patch_width = c.patch_size * c.patch_size * c.in_channels;
  const auto patches = register_module("patch_embedding", std::make_shared<torch::nn::Module>());
  patch_ = patches->register_module("lin_projection", std::make_shared<nn::Linear>(patch_width, c.dim, true));
  const auto time = register_module("time_embedding", std::make_shared<torch::nn::Module>());
  omega_ = time->register_buffer("omega", frequencies(c.dim / 2));
  position_ = positions(c.input_size / c.patch_size, c.dim);
  adaln_ = register_module("adaln_single", std::make_shared<AdaLnSingle>(c.dim, c.depth));
  if (c.num_classes > 0) {
    const auto context = register_module("context_embedding", std::make_shared<torch::nn::Module>());
    classes_ = context->register_parameter("weight",
                                           torch::empty({c.num_classes + (c.learned_null ? 1 : 0), c.dim}));
  } else {
    text_ =
        register_module("context_embedding", std::make_shared<nn::Linear>(c.caption_channels, c.dim, true));
    if (c.learned_null)
      null_text_ = register_parameter("null_text", torch::empty({1, 1, c.caption_channels}));
  }
  const auto list = register_module("dit_blocks", std::make_shared<torch::nn::Module>());
  for (std::int64_t i = 0; i < c.depth; ++i)
    blocks_.push_back(
        list->register_module(std::to_string(i), std::make_shared<ClassDitBlock>(c, i, adaln_)));
  const auto reshaper = register_module("reshaper", std::make_shared<torch::nn::Module>());
  last_norm_ = reshaper->register_module("normalization_layer", std::make_shared<BlockNorm>(c.norm, c.dim));
  reshape_ =
      reshaper->register_module("lin_projection", std::make_shared<nn::Linear>(c.dim, patch_width, true));
}

void ClassDit::initialize(std::uint64_t seed) {
  draw_parameters(*this, seed, [&](std::string_view name, const torch::Tensor& parameter) -> Rule {
    const auto by_inputs = [](std::int64_t inputs) {
      return Rule{Law::uniform, 1 / std::sqrt(static_cast<double>(inputs))};
    };
    if (name.find("normalization_layer") != name.npos)
      return {name.ends_with("weight") ? Law::ones : Law::zeros};
    if (name.ends_with("layer_embeddings") || name.ends_with("in_proj_bias") ||
        name.ends_with("out_proj.bias"))
      return {Law::zeros};
    if (name.ends_with("in_proj_weight")) return xavier(parameter);
    if (name == "null_text" || (name == "context_embedding.weight" && classes_.defined()))
      return {Law::normal, 1};
    if (parameter.dim() == 2) return by_inputs(parameter.size(1));
    if (name == "patch_embedding.lin_projection.bias") return by_inputs(patch_->weight.size(1));
    if (name == "context_embedding.bias") return by_inputs(config_.caption_channels);
    return by_inputs(name.ends_with("feedforward.2.bias") ? 4 * config_.dim : config_.dim);
  });
}

std::vector<BlockModules> ClassDit::blocks() const {
  std::vector<BlockModules> all;
  for (const auto& block : blocks_) all.push_back({block});
  return all;
}

void ClassDit::check_input(const torch::Tensor& x, const torch::Tensor& noise_label,
                           const Condition& condition) const {
  const DenoiserConfig& c = config_;
  const std::int64_t batch = x.dim() > 0 ? x.size(0) : 0;
  const auto is = [](const torch::Tensor& t, at::IntArrayRef shape) {
    return t.defined() && t.sizes() == shape;
  };
  if (!is(x, {batch, c.in_channels, c.input_size, c.input_size}))
    core::user_error("x has shape {}; the model takes [B, {}, {}, {}] (in_channels, input_size)",
                     c10::str(x.sizes()), c.in_channels, c.input_size, c.input_size);
  if (!is(noise_label, {batch}))
    core::user_error("the noise label has shape {} and must be [{}]", c10::str(noise_label.sizes()), batch);
  if (classes_.defined()) return check_classes(condition.class_B, batch, classes_.size(0), c.num_classes);
  const torch::Tensor& text = condition.text_BLD;
  check_text(text, batch, c.caption_channels);
  if (c.text_mask && !is(condition.text_mask_BL, text.sizes().slice(0, 2)))
    core::user_error("model.text_mask: true: the text rows {} come without a mask of their shape",
                     c10::str(text.sizes()));
}

Condition ClassDit::null_like(const Condition& condition) const {
  core::check(config_.learned_null, "a class_dit without model.learned_null has no null condition");
  if (classes_.defined()) return {.class_B = torch::full_like(condition.class_B, config_.num_classes)};
  torch::Tensor mask = condition.text_mask_BL;
  if (mask.defined()) {
    mask = torch::zeros_like(mask);
    mask.select(1, 0).fill_(true);  // one row is enough
  }
  return {.text_BLD = null_text_.to(condition.text_BLD.scalar_type()).expand_as(condition.text_BLD),
          .text_mask_BL = mask};
}

/// [B, L, D]
torch::Tensor ClassDit::context_of(const Condition& condition) const {
  if (classes_.defined()) return at::embedding(classes_, condition.class_B).unsqueeze(1);
  const torch::Tensor& text = condition.text_BLD;
  // Hidden rows are zero from here on: whatever lies in them has no part in values or gradients.
  return text_->forward(
      config_.text_mask ? text.masked_fill(condition.text_mask_BL.logical_not().unsqueeze(-1), 0) : text);
}

torch::Tensor ClassDit::tokens_of(const torch::Tensor& x_BCHW) const {
  const torch::Tensor x = patch_->forward(nn::patchify(x_BCHW, config_.patch_size));
  if (position_.device() != x.device()) position_ = position_.to(x.device());
  return x + position_;  // fp32, of bf16 patches as well
}

Prediction ClassDit::forward(const torch::Tensor& x_BCHW, const torch::Tensor& noise_label_B,
                             const Condition& condition, const std::optional<Mask>& mask) {
  core::check(!mask || mask->ratio == 0, "a class_dit cannot be masked");
  check_input(x_BCHW, noise_label_B, condition);
  const torch::Tensor shared =
      adaln_->shared(by_turns(noise_label_B.to(torch::kFloat).unsqueeze(1) * omega_));
  const torch::Tensor context = context_of(condition);
  torch::Tensor x = tokens_of(x_BCHW), seen;
  if (!classes_.defined() && config_.text_mask)
    seen = torch::cat({torch::ones({x.size(0), x.size(1)}, condition.text_mask_BL.options()),
                       condition.text_mask_BL},
                      1)
               .unsqueeze(1)
               .unsqueeze(1);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto call = [block = blocks_[i].get()](const std::vector<torch::Tensor>& in) {
      return block->forward(in[0], in[1], in[2], in[3]);
    };
    x = run_block(static_cast<std::int64_t>(i), call, {x, context, shared, seen});
  }
  x = reshape_->forward(last_norm_->forward(x));
  // Rows of a patch are channel first: to unpatchify's channel last.
  const std::int64_t p = config_.patch_size, channels = config_.in_channels;
  x = x.unflatten(-1, {channels, p * p}).transpose(-1, -2).flatten(-2);
  return {nn::unpatchify(x, p), {}};
}

}  // namespace microdit::models

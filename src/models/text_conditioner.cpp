// Embeddings, layers, norm, projection.
#include "models/text_conditioner.h"

#include <torch/utils.h>

#include <cmath>

#include "core/error.h"
#include "models/class_dit.h"

namespace microdit::models {

void TextConditionerConfig::fields(core::Fields& f) {
  f.field("vocabulary", vocabulary, {.min = 0, .max = 1e7, .help = "tokens; 0 = of the data's tokenizer"});
  f.field("length", length, {.min = 0, .max = 4096, .help = "positions; 0 = the recipe's text.length"});
  f.field("width", width, {.min = 1, .max = 65536});
  f.field("depth", depth, {.min = 1, .max = 1000, .help = "layers"});
  f.field("heads", heads, {.min = 1, .max = 65536, .help = "of attention; they divide the width"});
  if (f.reading() && width % heads != 0)
    f.error("heads", fmt::format("{} do not divide the width {}", heads, width));
}

/// torch's TransformerEncoderLayer: x + attention(norm1 x), x + mlp(norm2 x), with GELU and four times the width inside.
class ConditionerLayer : public torch::nn::Module {
 public:
  ConditionerLayer(std::int64_t width, std::int64_t heads) : heads_(heads) {
    const auto attention = register_module("self_attn", std::make_shared<torch::nn::Module>());
    weight_ = attention->register_parameter("in_proj_weight", torch::empty({3 * width, width}));
    bias_ = attention->register_parameter("in_proj_bias", torch::empty({3 * width}));
    out_ = attention->register_module("out_proj", std::make_shared<nn::Linear>(width, width, true));
    first_ = register_module("linear1", std::make_shared<nn::Linear>(width, 4 * width, true));
    second_ = register_module("linear2", std::make_shared<nn::Linear>(4 * width, width, true));
    norm1_ = register_module("norm1", std::make_shared<BlockNorm>("layer", width));
    norm2_ = register_module("norm2", std::make_shared<BlockNorm>("layer", width));
  }
  /// `seen`: bool [B, 1, 1, L].
  torch::Tensor forward(const torch::Tensor& x_BLD, const torch::Tensor& seen) const {
    const torch::Tensor x = x_BLD + attended(norm1_->forward(x_BLD), seen);
    return x + second_->forward(at::gelu(first_->forward(norm2_->forward(x))));
  }

 private:
  torch::Tensor attended(const torch::Tensor& x_BLD, const torch::Tensor& seen) const {
    const std::vector<torch::Tensor> parts = at::linear(x_BLD, weight_, bias_).chunk(3, -1);
    const auto heads = [&](const torch::Tensor& part) {
      return part.unflatten(-1, {heads_, part.size(-1) / heads_}).transpose(1, 2);
    };
    const torch::Tensor mixed =
        at::scaled_dot_product_attention(heads(parts[0]), heads(parts[1]), heads(parts[2]), seen);
    return out_->forward(mixed.transpose(1, 2).flatten(2));
  }

  std::int64_t heads_;
  torch::Tensor weight_, bias_;
  std::shared_ptr<nn::Linear> out_, first_, second_;
  std::shared_ptr<BlockNorm> norm1_, norm2_;
};

TextConditioner::TextConditioner(const TextConditionerConfig& config, std::int64_t row_width)
    : config_(config) {
  const auto need = [](std::int64_t value, const char* key) {
    if (value < 1)
      core::user_error(
          "model.text_conditioner.{}: {} (it comes from the data's facts, or must be given here)", key,
          value);
  };
  need(config.vocabulary, "vocabulary");
  need(config.length, "length");
  const auto embedding = register_module("token_embedding", std::make_shared<torch::nn::Module>());
  tokens_ = embedding->register_parameter("weight", torch::empty({config.vocabulary + 1, config.width}));
  positions_ = register_parameter("position_embedding", torch::empty({config.length, config.width}));
  const auto list = register_module("layers", std::make_shared<torch::nn::Module>());
  for (std::int64_t i = 0; i < config.depth; ++i)
    layers_.push_back(list->register_module(std::to_string(i),
                                            std::make_shared<ConditionerLayer>(config.width, config.heads)));
  norm_ = register_module("norm", std::make_shared<BlockNorm>("layer", config.width));
  if (row_width != config.width)
    projection_ = register_module("projection", std::make_shared<nn::Linear>(config.width, row_width, true));
}

TextRows TextConditioner::forward(const torch::Tensor& tokens_BL, const torch::Tensor& mask_BL) const {
  const std::int64_t length = tokens_BL.dim() == 2 ? tokens_BL.size(1) : 0;
  if (length < 1 || length > config_.length || tokens_BL.scalar_type() != torch::kLong)
    core::user_error("the tokens are {} {}; model.text_conditioner takes whole numbers (int64) [B, 1 to {}]",
                     c10::toString(tokens_BL.scalar_type()), c10::str(tokens_BL.sizes()), config_.length);
  core::check(mask_BL.sizes() == tokens_BL.sizes() && mask_BL.scalar_type() == torch::kBool &&
                  tokens_BL.is_cpu() && mask_BL.is_cpu(),
              "tokens without their mask on the CPU");
  torch::Tensor seen = mask_BL.clone();
  seen.select(1, 0).logical_or_(mask_BL.any(1).logical_not());
  const torch::Tensor known = tokens_BL.masked_fill(mask_BL.logical_not(), 0);
  if (known.numel() > 0 &&
      (known.min().item<std::int64_t>() < 0 || known.max().item<std::int64_t>() >= config_.vocabulary))
    core::user_error(
        "token {} of a caption: the model knows {} tokens (model.text_conditioner.vocabulary); take the "
        "tokenizer that it was trained with",
        known.min().item<std::int64_t>() < 0 ? known.min().item<std::int64_t>()
                                             : known.max().item<std::int64_t>(),
        config_.vocabulary);
  const torch::Device device = tokens_.device();
  const torch::Tensor ids = tokens_BL.masked_fill(mask_BL.logical_not(), config_.vocabulary).to(device);
  seen = seen.to(device);
  torch::Tensor x = at::embedding(tokens_, ids) + positions_.slice(0, 0, length);
  const torch::Tensor keys = seen.unsqueeze(1).unsqueeze(1);
  for (const auto& layer : layers_) x = layer->forward(x, keys);
  x = norm_->forward(x);
  if (projection_) x = projection_->forward(x);
  return {x.masked_fill(seen.logical_not().unsqueeze(-1), 0), seen};
}

TextRows TextConditioner::null(std::int64_t batch, std::int64_t length) const {
  return forward(torch::zeros({batch, length}, torch::kLong), torch::zeros({batch, length}, torch::kBool));
}

Rule conditioner_rule(std::string_view name, const torch::Tensor& parameter) {
  constexpr double kStd = 0.02;  // of embeddings, as GPT-2 and BERT begin
  if (name == "token_embedding.weight" || name == "position_embedding") return {Law::normal, kStd};
  if (name.find("norm") != name.npos) return {name.ends_with("weight") ? Law::ones : Law::zeros};
  if (parameter.dim() == 1) return {Law::zeros};
  return xavier(parameter);
}

}  // namespace microdit::models

// MicroDiT: composition and forward pass.
#include "models/microdit.h"

#include "core/error.h"
#include "models/microdit_init.h"
#include "nn/masking.h"
#include "nn/position.h"

namespace microdit::models {

namespace {

torch::Tensor mean_of_seen(const SeenText& text) {
  if (!text.seen_BL.defined()) return text.rows_BLD.mean(1);
  const torch::Tensor seen = text.seen_BL.unsqueeze(-1);
  return text.rows_BLD.masked_fill(seen.logical_not(), 0).sum(1) / seen.sum(1);
}

}  // namespace

WidthMap::WidthMap(std::int64_t from, std::int64_t to, double norm_eps) {
  norm_ = register_module("0", std::make_shared<nn::LayerNorm>(from, norm_eps));
  linear_ = register_module("1", std::make_shared<nn::Linear>(from, to));
}

FinalLayer::FinalLayer(std::int64_t dim, std::int64_t patch_width, double norm_eps) {
  linear_ = register_module("linear", std::make_shared<nn::Linear>(dim, patch_width, true));
  modulation_ = register_module("adaLN_modulation", std::make_shared<nn::Modulation>(dim, dim, 2));
  norm_ = register_module("norm_final", std::make_shared<nn::LayerNorm>(dim, norm_eps));
}

torch::Tensor FinalLayer::forward(const torch::Tensor& x_BTD, const torch::Tensor& activated_BD) const {
  const std::vector<torch::Tensor> parts = modulation_->forward(activated_BD);
  return linear_->forward(norm_->forward(x_BTD, parts[0], parts[1]));
}

MicroDit::MicroDit(const DenoiserConfig& config) : config_(config) {
  const DenoiserConfig& c = config_;
  const std::int64_t side = c.input_size / c.patch_size,
                     patch_width = c.patch_size * c.patch_size * c.in_channels;
  pos_embed_ = register_buffer("pos_embed", nn::position_embedding(side, c.dim, c.pos_interp_scale));
  mask_token_ = register_buffer("mask_token", torch::zeros({1, 1, patch_width}));
  x_embedder_ =
      register_module("x_embedder", std::make_shared<nn::PatchEmbed>(c.in_channels, c.patch_size, c.dim));
  t_embedder_ = register_module("t_embedder", std::make_shared<nn::TimestepEmbedder>(c.dim));
  const auto y_embedder = register_module("y_embedder", std::make_shared<torch::nn::Module>());
  y_embedder_ = y_embedder->register_module(
      "y_proj", std::make_shared<nn::EmbeddingMlp>(c.caption_channels, c.dim, c.norm_eps));
  y_preprocess_ = register_module("y_emb_preprocess",
                                  std::make_shared<TextBlock>(c.dim, c.head_dim, c.multiple_of, c.norm_eps));
  pooled_y_ =
      register_module("pooled_y_emb_process", std::make_shared<nn::EmbeddingMlp>(c.dim, c.dim, c.norm_eps));
  mixer_ = add_blocks("patch_mixer", mixer_sizes(c));
  if (c.patch_mixer_dim != c.dim) {
    map_xin_ = register_module("patch_mixer_map_xin",
                               std::make_shared<WidthMap>(c.dim, c.patch_mixer_dim, c.norm_eps));
    map_xout_ = register_module("patch_mixer_map_xout",
                                std::make_shared<WidthMap>(c.patch_mixer_dim, c.dim, c.norm_eps));
    map_y_ = register_module("patch_mixer_map_y",
                             std::make_shared<WidthMap>(c.dim, c.patch_mixer_dim, c.norm_eps));
  }
  blocks_ = add_blocks("blocks", backbone_sizes(c));
  final_layer_ = register_module("final_layer", std::make_shared<FinalLayer>(c.dim, patch_width, c.norm_eps));
}

std::vector<std::shared_ptr<MicroDitBlock>> MicroDit::add_blocks(const std::string& name,
                                                                 const std::vector<BlockSizes>& sizes) {
  const auto list = register_module(name, std::make_shared<torch::nn::Module>());
  std::vector<std::shared_ptr<MicroDitBlock>> blocks;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    blocks.push_back(list->register_module(std::to_string(i), std::make_shared<MicroDitBlock>(sizes[i])));
  }
  return blocks;
}

void MicroDit::initialize(std::uint64_t seed) {
  initialize_microdit(*this, config_, seed);
}

std::vector<BlockModules> MicroDit::blocks() const {
  std::vector<BlockModules> all{{y_embedder_, y_preprocess_}};
  for (const auto& part : {mixer_, blocks_})
    for (const auto& block : part) all.push_back({block});
  return all;
}

void MicroDit::check_input(const torch::Tensor& x, const torch::Tensor& noise_label,
                           const Condition& condition, const std::optional<Mask>& mask) const {
  const DenoiserConfig& c = config_;
  const torch::Tensor &text = condition.text_BLD, &seen = condition.text_mask_BL;
  const auto is = [](const torch::Tensor& t, at::IntArrayRef shape) { return t.sizes() == shape; };
  const std::int64_t batch = x.dim() > 0 ? x.size(0) : 0;
  if (!is(x, {batch, c.in_channels, c.input_size, c.input_size})) {
    core::user_error("x has shape {}; the model takes [B, {}, {}, {}] (in_channels, input_size)",
                     c10::str(x.sizes()), c.in_channels, c.input_size, c.input_size);
  }
  if (!is(noise_label, {batch})) {
    core::user_error("the noise label has shape {} and must be [{}]", c10::str(noise_label.sizes()), batch);
  }
  if (text.dim() != 3 || text.size(0) != batch || text.size(1) < 1 || text.size(2) != c.caption_channels) {
    core::user_error("text has shape {}; the model takes [{}, L, {}] (caption_channels)",
                     c10::str(text.sizes()), batch, c.caption_channels);
  }
  if (c.text_mask &&
      (!seen.defined() || !is(seen, text.sizes().slice(0, 2)) || seen.scalar_type() != torch::kBool)) {
    core::user_error("model.text_mask: true: the text rows {} come {}; it must be a bool for each of them",
                     c10::str(text.sizes()),
                     seen.defined() ? fmt::format("with a mask {} of {}", c10::str(seen.sizes()),
                                                  c10::toString(seen.scalar_type()))
                                    : "without a mask");
  }
  const std::int64_t num_patches = pos_embed_.size(1);
  if (mask && !is(mask->noise_BT, {batch, num_patches})) {
    core::user_error("mask noise has shape {} and must be [{}, {}] (one value per patch)",
                     c10::str(mask->noise_BT.sizes()), batch, num_patches);
  }
}

Condition MicroDit::null_like(const Condition& condition) const {
  const torch::Tensor& mask = condition.text_mask_BL;
  return {
      torch::zeros_like(condition.text_BLD), mask.defined() ? torch::zeros_like(mask) : torch::Tensor(), {}};
}

torch::Tensor MicroDit::run(std::int64_t number, const MicroDitBlock& block, const torch::Tensor& x_BTD,
                            const SeenText& text, const torch::Tensor& activated_BD) const {
  const auto call = [&block](const std::vector<torch::Tensor>& in) {
    return block.forward(in[0], {in[1], in[2]}, in[3]);
  };
  return run_block(number, call, {x_BTD, text.rows_BLD, text.seen_BL, activated_BD});
}

// Hidden rows are zero from here on: whatever lies in them, be it not finite, has no part in values or gradients.
SeenText MicroDit::seen_text(const Condition& condition) const {
  if (!config_.text_mask) return {condition.text_BLD};
  const torch::Tensor& mask = condition.text_mask_BL;
  torch::Tensor seen = mask.clone();
  seen.select(1, 0).logical_or_(mask.any(1).logical_not());  // the null condition: one zero row
  return {condition.text_BLD.masked_fill(mask.logical_not().unsqueeze(-1), 0), seen};
}

MicroDit::Conditioning MicroDit::condition(const torch::Tensor& noise_label_B,
                                           const Condition& condition) const {
  const SeenText given = seen_text(condition);
  const auto call = [this](const std::vector<torch::Tensor>& in) {
    return y_preprocess_->forward({y_embedder_->forward(in[0]), in[1]});
  };
  const SeenText text{run_block(0, call, {given.rows_BLD, given.seen_BL}), given.seen_BL};
  const torch::Tensor pooled = pooled_y_->forward(mean_of_seen(text));
  return {text, nn::Modulation::activate(t_embedder_->forward(noise_label_B) + pooled)};
}

Prediction MicroDit::forward(const torch::Tensor& x_BCHW, const torch::Tensor& noise_label_B,
                             const Condition& condition_in, const std::optional<Mask>& mask) {
  const std::optional<Mask> active = mask && mask->ratio > 0 ? mask : std::nullopt;
  check_input(x_BCHW, noise_label_B, condition_in, active);
  const Conditioning cond = condition(noise_label_B, condition_in);
  torch::Tensor x = x_embedder_->forward(x_BCHW);
  x = x + pos_embed_.to(x.scalar_type());
  const std::int64_t num_tokens = x.size(1);
  if (map_xin_) x = map_xin_->forward(x);
  const SeenText mixer_text =
      map_y_ ? SeenText{map_y_->forward(cond.text.rows_BLD), cond.text.seen_BL} : cond.text;
  std::int64_t number = 1;  // 0: the text's own
  for (const auto& block : mixer_) x = run(number++, *block, x, mixer_text, cond.activated_BD);

  nn::TokenChoice choice;
  if (active) {
    choice = nn::choose_tokens(active->noise_BT, active->ratio);
    x = nn::keep_tokens(x, choice.ids_BK);
  }
  if (map_xout_) x = map_xout_->forward(x);  // after masking: less to project
  for (const auto& block : blocks_) x = run(number++, *block, x, cond.text, cond.activated_BD);
  x = final_layer_->forward(x, cond.activated_BD);
  if (active) x = nn::restore_tokens(x, choice.ids_BK, mask_token_, num_tokens);
  return {nn::unpatchify(x, config_.patch_size), choice.kept_BT};
}

}  // namespace microdit::models

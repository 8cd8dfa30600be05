// MicroDiT's block and its widths.
#include "models/microdit_block.h"

#include "nn/expert_choice.h"
#include "nn/kernels/pointwise.h"

namespace microdit::models {

namespace {

std::int64_t truncated(std::int64_t dim, double ratio) {
  return static_cast<std::int64_t>(static_cast<double>(dim) * ratio);
}

std::int64_t attention_width(std::int64_t dim, double ratio, std::int64_t head_dim) {
  return ratio == 1 ? dim : nn::round_up(truncated(dim, ratio), 2 * head_dim);
}

BlockSizes block_sizes(const DenoiserConfig& c, std::int64_t dim, double qkv_ratio, double mlp_ratio,
                       bool experts) {
  BlockSizes sizes;
  sizes.dim = dim;
  sizes.condition_dim = c.dim;
  sizes.head_dim = c.head_dim;
  sizes.attention_width = attention_width(dim, qkv_ratio, c.head_dim);
  const std::int64_t target = truncated(dim, mlp_ratio);
  sizes.hidden = experts ? nn::round_up(target, c.multiple_of) : dense_hidden(target, c.multiple_of);
  sizes.num_experts = experts ? c.num_experts : 0;
  sizes.expert_capacity = c.expert_capacity;
  sizes.norm_eps = c.norm_eps;
  return sizes;
}

}  // namespace

std::int64_t dense_hidden(std::int64_t target, std::int64_t multiple_of) {
  return nn::round_up(2 * target / 3, multiple_of);
}

std::vector<double> linspace(const std::vector<double>& ends, std::int64_t count) {
  std::vector<double> values;
  const double step = count > 1 ? (ends[1] - ends[0]) / static_cast<double>(count - 1) : 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const volatile double offset = static_cast<double>(i) * step;  // rounded before the sum, as numpy does
    values.push_back(offset + ends[0]);
  }
  if (count > 1) values.back() = ends[1];
  return values;
}

std::vector<BlockSizes> mixer_sizes(const DenoiserConfig& c) {
  std::vector<BlockSizes> sizes;
  for (std::int64_t i = 0; i < c.patch_mixer_depth; ++i) {
    const bool experts = i > 0 && (i + 1) % c.experts_every_n == 0;
    sizes.push_back(
        block_sizes(c, c.patch_mixer_dim, c.patch_mixer_qkv_ratio, c.patch_mixer_mlp_ratio, experts));
  }
  return sizes;
}

std::vector<BlockSizes> backbone_sizes(const DenoiserConfig& c) {
  const std::vector<double> qkv = linspace(c.qkv_ratio, c.depth), mlp = linspace(c.mlp_ratio, c.depth);
  std::vector<BlockSizes> sizes;
  for (std::int64_t i = 0; i < c.depth; ++i) {
    const bool experts = i < c.depth - 1 && (i + 1) % c.experts_every_n == 0;
    const auto at = static_cast<std::size_t>(i);
    sizes.push_back(block_sizes(c, c.dim, qkv[at], mlp[at], experts));
  }
  return sizes;
}

MicroDitBlock::MicroDitBlock(const BlockSizes& s) {
  norm1_ = register_module("norm1", std::make_shared<nn::LayerNorm>(s.dim, s.norm_eps));
  norm2_ = register_module("norm2", std::make_shared<nn::LayerNorm>(s.dim, s.norm_eps));
  norm3_ = register_module("norm3", std::make_shared<nn::LayerNorm>(s.dim, s.norm_eps));
  attn_ = register_module(
      "attn", std::make_shared<nn::SelfAttention>(s.dim, s.attention_width, s.head_dim, s.norm_eps));
  cross_attn_ =
      register_module("cross_attn", std::make_shared<nn::CrossAttention>(s.dim, s.head_dim, s.norm_eps));
  if (s.num_experts > 0) {
    const nn::ExpertSizes experts{s.num_experts, s.expert_capacity, s.hidden};
    mlp_ = register_module("mlp", std::make_shared<nn::ExpertChoice>(s.dim, experts));
  } else {
    mlp_ = register_module("mlp", std::make_shared<nn::FeedForward>(s.dim, s.hidden));
  }
  modulation_ =
      register_module("adaLN_modulation", std::make_shared<nn::Modulation>(s.condition_dim, s.dim, 6));
}

torch::Tensor MicroDitBlock::forward(const torch::Tensor& x_BTD, const SeenText& text,
                                     const torch::Tensor& activated_BD) const {
  const std::vector<torch::Tensor> parts = modulation_->forward(activated_BD);
  const torch::Tensor &shift_attn = parts[0], &scale_attn = parts[1], &gate_attn = parts[2];
  const torch::Tensor &shift_mlp = parts[3], &scale_mlp = parts[4], &gate_mlp = parts[5];
  torch::Tensor x = x_BTD;
  x = nn::kernels::gated_add(x, attn_->forward(norm1_->forward(x, shift_attn, scale_attn)), gate_attn);
  x = x + cross_attn_->forward(norm2_->forward(x), text.rows_BLD, text.seen_BL);
  return nn::kernels::gated_add(x, mlp_->forward(norm3_->forward(x, shift_mlp, scale_mlp)), gate_mlp);
}

TextBlock::TextBlock(std::int64_t dim, std::int64_t head_dim, std::int64_t multiple_of, double norm_eps) {
  norm1_ = register_module("norm1", std::make_shared<nn::LayerNorm>(dim, norm_eps));
  attn_ = register_module("attn", std::make_shared<nn::SelfAttention>(dim, dim, head_dim, norm_eps));
  norm2_ = register_module("norm2", std::make_shared<nn::LayerNorm>(dim, norm_eps));
  mlp_ = register_module("mlp", std::make_shared<nn::FeedForward>(dim, dense_hidden(4 * dim, multiple_of)));
}

torch::Tensor TextBlock::forward(const SeenText& text) const {
  const torch::Tensor rows = text.rows_BLD + attn_->forward(norm1_->forward(text.rows_BLD), text.seen_BL);
  return rows + mlp_->forward(norm2_->forward(rows));
}

}  // namespace microdit::models

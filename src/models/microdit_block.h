// The transformer block of MicroDiT, and the widths of a net's blocks.
#pragma once

#include <memory>
#include <vector>

#include "models/denoiser.h"
#include "nn/attention.h"
#include "nn/feed_forward.h"
#include "nn/modulation.h"

namespace microdit::models {

struct BlockSizes {
  std::int64_t dim = 0;
  std::int64_t condition_dim = 0;  ///< width of the pooled condition
  std::int64_t head_dim = 0;
  std::int64_t attention_width = 0;  ///< of self-attention; cross-attention has `dim`
  std::int64_t hidden = 0;           ///< of the feed-forward layer or of each expert
  std::int64_t num_experts = 0;      ///< 0: dense
  double expert_capacity = 0;
  double norm_eps = 0;
};

/// Blocks before masking (constant ratios) and after it (ratios on a line over depth; the last block is
/// dense).
std::vector<BlockSizes> mixer_sizes(const DenoiserConfig& config);
std::vector<BlockSizes> backbone_sizes(const DenoiserConfig& config);
/// numpy.linspace(ends[0], ends[1], count), to the last bit: widths are truncated products of it.
std::vector<double> linspace(const std::vector<double>& ends, std::int64_t count);
/// Hidden width of a SwiGLU layer: 2/3 of `target`, rounded up.
std::int64_t dense_hidden(std::int64_t target, std::int64_t multiple_of);

/// Text rows [B, L, D] and which of them are seen (bool [B, L]; undefined: all).
struct SeenText {
  torch::Tensor rows_BLD;
  torch::Tensor seen_BL{};
};

/// x + gate attn(mod(norm1 x)); x + cross_attn(norm2 x, text); x + gate mlp(mod(norm3 x)).
class MicroDitBlock : public torch::nn::Module {
 public:
  explicit MicroDitBlock(const BlockSizes& sizes);
  /// `activated_BD`: the pooled condition after Modulation::activate.
  torch::Tensor forward(const torch::Tensor& x_BTD, const SeenText& text,
                        const torch::Tensor& activated_BD) const;

 private:
  std::shared_ptr<nn::LayerNorm> norm1_, norm2_, norm3_;
  std::shared_ptr<nn::SelfAttention> attn_;
  std::shared_ptr<nn::CrossAttention> cross_attn_;
  std::shared_ptr<nn::TokenMlp> mlp_;
  std::shared_ptr<nn::Modulation> modulation_;
};

/// Self-attention and SwiGLU over text rows, without conditioning.
class TextBlock : public torch::nn::Module {
 public:
  TextBlock(std::int64_t dim, std::int64_t head_dim, std::int64_t multiple_of, double norm_eps);
  torch::Tensor forward(const SeenText& text) const;

 private:
  std::shared_ptr<nn::LayerNorm> norm1_, norm2_;
  std::shared_ptr<nn::SelfAttention> attn_;
  std::shared_ptr<nn::FeedForward> mlp_;
};

}  // namespace microdit::models

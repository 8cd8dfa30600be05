// What a U-Net is made of: convolutions, residual blocks, attention among pixels, transformers that see the text. Names are diffusers'.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/class_dit.h"
#include "nn/linear.h"

// Shape legend: B batch, C channels, H W height and width, T pixels, L text rows, D width. Parameters are uninitialised.
namespace microdit::models {

torch::Tensor unet_activation(const std::string& name, const torch::Tensor& x);

/// A square kernel; padding so that the size stays (stride 1).
class Conv : public torch::nn::Module {
 public:
  Conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1,
       std::int64_t padding = -1);
  torch::Tensor forward(const torch::Tensor& x_BCHW) const;

 private:
  torch::Tensor weight_, bias_;
  std::int64_t stride_, padding_;
};

class GroupNorm : public torch::nn::Module {
 public:
  GroupNorm(std::int64_t channels, std::int64_t groups, double eps);
  torch::Tensor forward(const torch::Tensor& x_BCHW) const;

 private:
  torch::Tensor weight_, bias_;
  std::int64_t groups_;
  double eps_;
};

struct ResnetSizes {
  std::int64_t in, out, time;
  std::int64_t groups;
  double eps;
  std::string activation;
  bool time_scales;  ///< the time scales and shifts the second norm, instead of being added before it
  double divisor;    ///< of what comes out
};

class Resnet : public torch::nn::Module {
 public:
  explicit Resnet(const ResnetSizes& sizes);
  /// `time_BD`: activated.
  torch::Tensor forward(const torch::Tensor& x_BCHW, const torch::Tensor& time_BD) const;

 private:
  ResnetSizes sizes_;
  std::shared_ptr<GroupNorm> norm1_, norm2_;
  std::shared_ptr<Conv> conv1_, conv2_, shortcut_;  ///< shortcut: only where the width changes
  std::shared_ptr<nn::Linear> time_;
};

/// Queries from `x`, keys and values from `context`; to_q, to_k, to_v, to_out.0.
class HeadsAttention : public torch::nn::Module {
 public:
  HeadsAttention(std::int64_t dim, std::int64_t context_dim, std::int64_t heads, bool with_bias);
  /// `seen_BL`: bool, the context's rows that are attended to; undefined: all.
  torch::Tensor forward(const torch::Tensor& x_BTD, const torch::Tensor& context_BLD,
                        const torch::Tensor& seen_BL = {}) const;

 private:
  std::shared_ptr<nn::Linear> q_, k_, v_, out_;
  std::int64_t heads_;
};

/// Attention of a picture's pixels to one another, with its own norm (`groups` 0: none) and residual.
class PixelAttention : public HeadsAttention {
 public:
  PixelAttention(std::int64_t width, std::int64_t head_dim, std::int64_t groups, double eps, double divisor);
  torch::Tensor forward(const torch::Tensor& x_BCHW) const;

 private:
  std::shared_ptr<GroupNorm> norm_;
  double divisor_;
};

/// Self-attention, attention to the text and a gated feed-forward layer, each behind its norm.
class TextBlockOfPixels : public torch::nn::Module {
 public:
  TextBlockOfPixels(std::int64_t width, std::int64_t text_width, std::int64_t heads);
  torch::Tensor forward(const torch::Tensor& x_BTD, const torch::Tensor& text_BLD,
                        const torch::Tensor& seen_BL) const;

 private:
  std::shared_ptr<BlockNorm> norm1_, norm2_, norm3_;
  std::shared_ptr<HeadsAttention> self_, cross_;
  std::shared_ptr<nn::Linear> gated_, out_;
};

/// diffusers' Transformer2DModel: norm, proj_in, transformer_blocks, proj_out, and a residual around all.
class TextTransformer : public torch::nn::Module {
 public:
  /// `linear`: whether the projections are stored as matrices, not as 1 x 1 convolutions.
  TextTransformer(std::int64_t width, std::int64_t text_width, std::int64_t heads, std::int64_t layers,
                  std::int64_t groups, bool linear);
  torch::Tensor forward(const torch::Tensor& x_BCHW, const torch::Tensor& text_BLD,
                        const torch::Tensor& seen_BL) const;

 private:
  struct Projection;
  std::shared_ptr<GroupNorm> norm_;
  std::shared_ptr<Projection> in_, out_;
  std::vector<std::shared_ptr<TextBlockOfPixels>> blocks_;
};

}  // namespace microdit::models

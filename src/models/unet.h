// A U-Net (Ronneberger et al. 2015, Ho et al. 2020, Rombach et al. 2022): diffusers' UNet2DConditionModel and UNet2DModel by their
// config and key names, for square and other pictures of any size.
#pragma once

#include <memory>
#include <vector>

#include "models/denoiser.h"
#include "models/unet_layers.h"

namespace microdit::models {

/// What a level (or the middle) is made of.
struct StageSizes {
  std::vector<std::int64_t> in;  ///< of each residual block, with the skip that is joined to it
  std::int64_t out = 0;
  enum class Attends { nothing, pixels, text } attends = Attends::nothing;
  std::int64_t attentions = 0;  ///< behind the first so many residual blocks
  std::int64_t heads = 0;       ///< text: number of heads; pixels: a head's width
  std::int64_t attention_groups = 0;
  std::int64_t transformer_layers = 1;
  enum class Change { none, down, up } change = Change::none;
  double divisor = 1;
};

/// A level of the way down or up, or the middle: residual blocks, each perhaps with attention behind it, and a change of size.
class UnetStage : public torch::nn::Module {
 public:
  UnetStage(const DenoiserConfig& config, const StageSizes& sizes);
  std::int64_t steps() const { return static_cast<std::int64_t>(resnets_.size()); }
  /// Residual block `i` of x (joined with `skip_BCHW` where there is one) and its attention.
  torch::Tensor step(std::int64_t i, const torch::Tensor& x_BCHW, const torch::Tensor& skip_BCHW,
                     const torch::Tensor& time_BD, const torch::Tensor& text_BLD,
                     const torch::Tensor& seen_BL) const;
  BlockModules modules_of_step(std::int64_t i) const;
  bool changes() const { return change_ != nullptr; }
  torch::Tensor halved(const torch::Tensor& x_BCHW) const;
  torch::Tensor enlarged(const torch::Tensor& x_BCHW, at::IntArrayRef height_and_width) const;

 private:
  std::vector<std::shared_ptr<Resnet>> resnets_;
  std::vector<std::shared_ptr<PixelAttention>> pixels_;
  std::vector<std::shared_ptr<TextTransformer>> texts_;
  std::shared_ptr<Conv> change_;
  bool pads_behind_ = false;
};

class Unet : public Denoiser {
 public:
  /// `config` is checked. Parameters are uninitialised.
  explicit Unet(const DenoiserConfig& config);
  /// x of any height and width. `noise_label_B` is the time itself (diffusers': of 1000 steps). A text mask is taken wherever it is
  /// given; DenoiserConfig::text_mask demands it.
  Prediction forward(const torch::Tensor& x_BCHW, const torch::Tensor& noise_label_B,
                     const Condition& condition, const std::optional<Mask>& mask) override;
  /// Zero rows of text, none of them a token; the class behind the last where the model has learned it, else the class stays.
  Condition null_like(const Condition& condition) const override;
  bool supports_masking() const override { return false; }
  std::int64_t patch_size() const override { return 1; }
  /// torch's own distributions for such layers, as diffusers leaves them.
  void initialize(std::uint64_t seed) override;
  std::vector<BlockModules> blocks() const override;

 private:
  struct Seen {
    torch::Tensor rows_BLD, seen_BL;
  };
  void add_stages();
  void check_input(const torch::Tensor& x_BCHW, const torch::Tensor& noise_label_B,
                   const Condition& condition) const;
  torch::Tensor activated_time(const torch::Tensor& noise_label_B, const Condition& condition) const;
  Seen seen_text(const Condition& condition) const;

  DenoiserConfig config_;
  std::shared_ptr<Conv> conv_in_, conv_out_;
  std::shared_ptr<nn::Linear> time1_, time2_;
  torch::Tensor classes_;
  std::vector<std::shared_ptr<UnetStage>> down_, up_;
  std::shared_ptr<UnetStage> middle_;
  std::shared_ptr<GroupNorm> norm_out_;
};

}  // namespace microdit::models

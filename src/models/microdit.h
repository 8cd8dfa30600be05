// MicroDiT (Sehwag et al. 2024): patch mixer, deferred masking, expert-choice backbone. Names are the original's.
#pragma once

#include <memory>
#include <vector>

#include "models/microdit_block.h"
#include "nn/patch.h"
#include "nn/timestep.h"

namespace microdit::models {

/// Layer norm ("0") and projection ("1") between backbone and mixer widths.
class WidthMap : public torch::nn::Module {
 public:
  WidthMap(std::int64_t from, std::int64_t to, double norm_eps);
  torch::Tensor forward(const torch::Tensor& x) const { return linear_->forward(norm_->forward(x)); }

 private:
  std::shared_ptr<nn::LayerNorm> norm_;
  std::shared_ptr<nn::Linear> linear_;
};

/// Norm, modulation, projection to patches.
class FinalLayer : public torch::nn::Module {
 public:
  FinalLayer(std::int64_t dim, std::int64_t patch_width, double norm_eps);
  torch::Tensor forward(const torch::Tensor& x_BTD, const torch::Tensor& activated_BD) const;

 private:
  std::shared_ptr<nn::LayerNorm> norm_;
  std::shared_ptr<nn::Linear> linear_;
  std::shared_ptr<nn::Modulation> modulation_;
};

class MicroDit : public Denoiser {
 public:
  /// `config` is checked. Parameters are uninitialised, buffers filled.
  explicit MicroDit(const DenoiserConfig& config);
  Prediction forward(const torch::Tensor& x_BCHW, const torch::Tensor& noise_label_B,
                     const Condition& condition, const std::optional<Mask>& mask) override;
  /// Zero rows, none of them a token.
  Condition null_like(const Condition& condition) const override;
  bool supports_masking() const override { return true; }
  std::int64_t patch_size() const override { return config_.patch_size; }
  void initialize(std::uint64_t seed) override;
  std::vector<BlockModules> blocks() const override;

 private:
  struct Conditioning {
    SeenText text;
    torch::Tensor activated_BD;
  };
  torch::Tensor run(std::int64_t number, const MicroDitBlock& block, const torch::Tensor& x_BTD,
                    const SeenText& text, const torch::Tensor& activated_BD) const;
  SeenText seen_text(const Condition& condition) const;
  Conditioning condition(const torch::Tensor& noise_label_B, const Condition& condition) const;
  void check_input(const torch::Tensor& x_BCHW, const torch::Tensor& noise_label_B,
                   const Condition& condition, const std::optional<Mask>& mask) const;
  std::vector<std::shared_ptr<MicroDitBlock>> add_blocks(const std::string& name,
                                                         const std::vector<BlockSizes>& sizes);

  DenoiserConfig config_;
  torch::Tensor pos_embed_, mask_token_;
  std::shared_ptr<nn::PatchEmbed> x_embedder_;
  std::shared_ptr<nn::TimestepEmbedder> t_embedder_;
  std::shared_ptr<nn::EmbeddingMlp> y_embedder_, pooled_y_;
  std::shared_ptr<TextBlock> y_preprocess_;
  std::shared_ptr<WidthMap> map_xin_, map_xout_, map_y_;  ///< null when the mixer has the backbone's width
  std::vector<std::shared_ptr<MicroDitBlock>> mixer_, blocks_;
  std::shared_ptr<FinalLayer> final_layer_;
};

}  // namespace microdit::models

// nano-diffusion's DiT: one adaLN for all blocks with a table of its own for each (adaLN-single, PixArt-alpha, Chen et al. 2023), and the
// condition (a class, or rows of text) as further keys and values of self-attention. Names are the original's.
#pragma once

#include <memory>
#include <vector>

#include "models/denoiser.h"
#include "nn/linear.h"

namespace microdit::models {

/// Shift, scale and gate of both halves of every block from the time: `time_mlp.0`, `layer_embeddings` [blocks, 6 D].
class AdaLnSingle : public torch::nn::Module {
 public:
  AdaLnSingle(std::int64_t dim, std::int64_t depth);
  /// [B, D] -> [B, 6 D], what all blocks share.
  torch::Tensor shared(const torch::Tensor& time_BD) const;
  /// Six [B, 1, D]: shift 1 and 2, scale 1 and 2, gate 1 and 2.
  std::vector<torch::Tensor> of_block(const torch::Tensor& shared_BD, std::int64_t block) const;

 private:
  std::shared_ptr<nn::Linear> linear_;
  torch::Tensor layer_embeddings_;
};

/// Layer normalisation with weight and bias (eps 1e-5), or RMS normalisation with a weight (eps of fp32): torch's own.
class BlockNorm : public torch::nn::Module {
 public:
  BlockNorm(const std::string& kind, std::int64_t dim);
  torch::Tensor forward(const torch::Tensor& x) const;

 private:
  torch::Tensor weight_, bias_;  ///< no bias: RMS
};

class ClassDitBlock;

class ClassDit : public Denoiser {
 public:
  /// `config` is checked. Parameters are uninitialised, buffers filled.
  explicit ClassDit(const DenoiserConfig& config);
  /// `noise_label_B` is the time itself (of 1000 steps). The condition: class_B, or text rows where the model has no classes.
  Prediction forward(const torch::Tensor& x_BCHW, const torch::Tensor& noise_label_B,
                     const Condition& condition, const std::optional<Mask>& mask) override;
  /// The class behind the last; or the learned row. A bug where the model has learned none.
  Condition null_like(const Condition& condition) const override;
  bool supports_masking() const override { return false; }
  std::int64_t patch_size() const override { return config_.patch_size; }
  /// torch's own distributions for such layers, as the original leaves them.
  void initialize(std::uint64_t seed) override;
  std::vector<BlockModules> blocks() const override;

 private:
  torch::Tensor tokens_of(const torch::Tensor& x_BCHW) const;
  torch::Tensor context_of(const Condition& condition) const;
  void check_input(const torch::Tensor& x_BCHW, const torch::Tensor& noise_label_B,
                   const Condition& condition) const;

  DenoiserConfig config_;
  std::shared_ptr<nn::Linear> patch_, reshape_, text_;
  std::shared_ptr<AdaLnSingle> adaln_;
  std::shared_ptr<BlockNorm> last_norm_;
  torch::Tensor omega_, classes_, null_text_;
  mutable torch::Tensor position_;  ///< where it was needed last
  std::vector<std::shared_ptr<ClassDitBlock>> blocks_;
};

}  // namespace microdit::models

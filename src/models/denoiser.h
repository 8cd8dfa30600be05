// What every denoising network is: noisy latents, a noise label and a condition in, a prediction out.
#pragma once

#include <torch/nn/module.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "models/denoiser_kind.h"
#include "models/text_conditioner.h"
#include "models/unet_config.h"

// Shape legend: B batch, C channels, H W latent height and width, T patches, L text rows, D width.
namespace microdit::models {

/// What a model is conditioned on; undefined what it does not take.
struct Condition {
  torch::Tensor text_BLD{};  ///< text rows
  /// bool, the rows that are tokens. Taken where DenoiserConfig::text_mask says so.
  torch::Tensor text_mask_BL{};
  torch::Tensor class_B{};  ///< int64
};

/// Which patches the backbone sees: the int(T * (1 - ratio)) patches with the lowest noise (ties as stable
/// argsort).
struct Mask {
  double ratio = 0;
  torch::Tensor noise_BT;
};

struct Prediction {
  torch::Tensor prediction_BCHW;  ///< dropped patches carry the mask token
  torch::Tensor kept_BT;          ///< 1 kept, 0 dropped (float); undefined without a mask
};

/// A block as a function of tensors (an input that is not there is undefined), so that it can be run anew.
using BlockFn = std::function<torch::Tensor(const std::vector<torch::Tensor>& inputs)>;
/// How a denoiser runs its blocks, numbered in the order in which they run: plainly, recomputed in the backward pass, between
/// a gather and a release of its weights. Returns what fn(inputs) returns.
using BlockRunner = std::function<torch::Tensor(std::int64_t block, const BlockFn& fn,
                                                const std::vector<torch::Tensor>& inputs)>;

/// The modules of a block.
using BlockModules = std::vector<std::shared_ptr<torch::nn::Module>>;

/// Knows no device, rank, loss or guidance. Parameter names are the original's.
class Denoiser : public torch::nn::Module {
 public:
  virtual Prediction forward(const torch::Tensor& x_BCHW, const torch::Tensor& noise_label_B,
                             const Condition& condition, const std::optional<Mask>& mask = std::nullopt) = 0;
  /// "No condition" for a batch like that of `condition`: what guidance leads away from and dropped captions become.
  virtual Condition null_like(const Condition& condition) const = 0;
  virtual bool supports_masking() const = 0;
  virtual std::int64_t patch_size() const = 0;
  /// Draws all parameters anew from `seed` (counter-keyed: the same on every rank).
  virtual void initialize(std::uint64_t seed) = 0;
  /// What makes text rows of tokens, a part of this network (DenoiserConfig::text_conditioner); null: rows come from elsewhere.
  const std::shared_ptr<TextConditioner>& text_conditioner() const { return text_conditioner_; }
  void add_text_conditioner(std::shared_ptr<TextConditioner> conditioner) {
    text_conditioner_ = register_module(TextConditioner::kName, std::move(conditioner));
  }
  /// The modules that block i uses, and no other block, for every i of run_block; none: blocks are always run plainly, and their weights
  /// are resident.
  virtual std::vector<BlockModules> blocks() const { return {}; }
  /// Every block of every later forward goes through `runner`; an empty one calls it plainly.
  void set_block_runner(BlockRunner runner) { block_runner_ = std::move(runner); }

 protected:
  torch::Tensor run_block(std::int64_t block, const BlockFn& fn,
                          const std::vector<torch::Tensor>& inputs) const {
    return block_runner_ ? block_runner_(block, fn, inputs) : fn(inputs);
  }

 private:
  BlockRunner block_runner_;
  std::shared_ptr<TextConditioner> text_conditioner_;
};

/// The `model:` section of a config. Zeros mean: from the data's facts.
struct DenoiserConfig {
  std::string kind = "microdit";
  std::int64_t input_size = 0;  ///< latent side
  std::int64_t patch_size = 2;
  std::int64_t in_channels = 0;
  std::int64_t dim = 1024;
  std::int64_t depth = 28;
  std::int64_t head_dim = 64;
  std::int64_t multiple_of = 256;
  std::int64_t caption_channels = 0;  ///< text width
  /// Only rows of Condition::text_mask_BL are attended to and pooled. Without any, one zero row is: to rounding what the
  /// original makes of a null condition, whose rows are all zero.
  bool text_mask = false;
  double pos_interp_scale = 1.0;
  double norm_eps = 1e-6;
  std::vector<double> qkv_ratio = {0.5, 1.0};  ///< ends of a linspace over depth
  std::vector<double> mlp_ratio = {0.5, 4.0};
  std::int64_t patch_mixer_depth = 6;
  std::int64_t patch_mixer_dim = 768;
  double patch_mixer_qkv_ratio = 1.0;
  double patch_mixer_mlp_ratio = 4.0;
  std::int64_t num_experts = 8;
  double expert_capacity = 2.0;
  std::int64_t experts_every_n = 2;
  // Of class_dit (and dim, depth, input_size, patch_size, in_channels, caption_channels, text_mask).
  std::int64_t num_heads = 12;
  std::int64_t num_classes = 0;     ///< 0 = conditioned on text rows instead
  std::string norm = "rms";         ///< layer | rms
  std::string activation = "silu";  ///< silu | gelu | relu | mish
  std::string compat =
      "none";  ///< none | nano: attention's gate is computed and not used, as in nano-diffusion
  bool learned_null = false;  ///< a null condition for guidance: a class of its own, or a learned row
  /// Of unet (and input_size, in_channels, caption_channels, text_mask, num_classes, learned_null).
  UnetConfig unet;
  /// Of any kind that takes text: rows of caption_channels are made of tokens, in the network itself.
  std::optional<TextConditionerConfig> text_conditioner{};
  /// Of a kind that is not ours (and input_size, in_channels, what it Takes).
  std::shared_ptr<KindKeys> own;
  void fields(core::Fields& f);
  /// A unet or a kind that is not ours may take text, classes, both or nothing; the others take one of the two.
  bool takes_text() const;
  bool takes_classes() const;
  /// Whether there is a condition to guide away from.
  bool has_null() const;

 private:
  void microdit_fields(core::Fields& f);
  void class_dit_fields(core::Fields& f);
  void unet_fields(core::Fields& f);
  void transformer_fields(core::Fields& f);
  void conditioner_fields(core::Fields& f);
  void own_fields(core::Fields& f, const DenoiserKind& kind);
};

/// First weights: by the network's own rules, of its text conditioner by the conditioner's.
void initialize(Denoiser& net, std::uint64_t seed);

/// Builds the network on CPU in fp32, parameters initialised from `seed`. UserError for an impossible config.
std::shared_ptr<Denoiser> make_denoiser(const DenoiserConfig& config, std::uint64_t seed = 0);
/// The same with parameters left as memory is, for weights that are loaded next (buffers are filled).
std::shared_ptr<Denoiser> make_uninitialized_denoiser(const DenoiserConfig& config);
/// The keys of every kind but the first, for --help.
std::string describe_kinds();

}  // namespace microdit::models

// Pictures <-> latents: diffusers' AutoencoderKL, in its own folder layout and key names.
#pragma once

#include <torch/nn/module.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "core/stop_flag.h"
#include "encoders/encoder_facts.h"

namespace microdit::encoders {

/// config.json of a diffusers AutoencoderKL (also the `codec:` section of train_codec).
struct AutoencoderConfig {
  std::int64_t in_channels = 3;
  std::int64_t out_channels = 3;
  std::vector<std::int64_t> block_out_channels = {16, 32, 64, 128};
  std::int64_t layers_per_block = 1;
  std::int64_t latent_channels = 4;
  std::int64_t norm_num_groups = 32;
  std::int64_t sample_size = 64;
  double scaling_factor =
      0;  ///< 0 = not known yet (train_codec computes it); loading a folder without one is an error
  double shift_factor = 0;
  /// Per latent channel, both or none (no settings of train_codec): see scale_latents.
  std::vector<double> latents_mean{}, latents_std{};
  bool use_quant_conv = true;
  bool use_post_quant_conv = true;
  bool mid_block_add_attention = true;
  void fields(core::Fields& f);
  std::int64_t downscale() const;  ///< 8 for four blocks
};

/// What the network calls z -> latents as they are stored and trained on: (z - shift) scaling, or with statistics
/// (z - mean) scaling / std per channel, as diffusers' pipelines have it (SD3 and Flux; StableDiffusionXLImg2ImgPipeline's
/// prepare_latents). And back: z = latent / scaling + shift, latent std / scaling + mean (StableDiffusionXLPipeline).
torch::Tensor scale_latents(const AutoencoderConfig& config, const torch::Tensor& z_BChw);
torch::Tensor unscale_latents(const AutoencoderConfig& config, const torch::Tensor& latents_BChw);

/// The network, trainable; parameter names are diffusers'. Images are [-1, 1], B 3 H W.
class Autoencoder : public torch::nn::Module {
 public:
  explicit Autoencoder(const AutoencoderConfig& config);
  ~Autoencoder() override;
  const AutoencoderConfig& config() const { return config_; }
  AutoencoderConfig& config() { return config_; }
  std::int64_t downscale() const { return config_.downscale(); }
  /// Moments [B, 2C, h, w]: mean | log-variance (clamped to [-30, 20] where used).
  torch::Tensor encode_moments(const torch::Tensor& image_B3HW);
  /// Unscaled latents -> picture.
  torch::Tensor decode(const torch::Tensor& latent_BChw);
  /// PyTorch's default initialisation of each layer, drawn by counter from `seed`.
  void initialize(std::uint64_t seed);

 private:
  struct Parts;
  AutoencoderConfig config_;
  std::unique_ptr<Parts> parts_;
};

/// How many pictures of `batch` go through the network together: the largest divisor (all passes of one shape, so that a
/// picture's bits do not depend on its place) with which the largest activation stays within 2^28 values, or 1. At SDXL's
/// widths one picture of 1024 pixels, 4 of 512, 16 of 256.
inline constexpr std::int64_t kLargestActivation = std::int64_t{1} << 28;
std::int64_t pictures_at_once(const AutoencoderConfig& config, std::int64_t batch, std::int64_t pixels,
                              std::int64_t most_values = kLargestActivation);

/// Codecs that are none, for small pictures: latents are the pixels themselves, in [-1, 1]. Their names are `none` (red, green, blue) and
/// `grey` (Pillow's L of them), and `none_N`, `grey_N`, where each N x N pixels are one place with as many times more channels
/// (torch's pixel_unshuffle): nothing is lost, and the network's first level is smaller.
struct PixelCodec {
  bool grey = false;
  std::int64_t downscale = 1;  ///< N
  std::int64_t channels() const { return (grey ? 1 : 3) * downscale * downscale; }
  std::string name() const;
};
/// Nothing: the name is no such codec's, but a folder's.
std::optional<PixelCodec> pixel_codec(const std::filesystem::path& name);
/// Of a latents folder's facts.
std::optional<PixelCodec> pixel_codec(const CodecFacts& facts);

/// A frozen codec from a diffusers folder (config.json + diffusion_pytorch_model[.fp16].safetensors, sharded
/// index too), or pixels.
class ImageCodec {
 public:
  explicit ImageCodec(const PixelCodec& pixels = {});
  /// `sha256` of the folder's weights; empty = computed.
  ImageCodec(std::shared_ptr<Autoencoder> net, std::filesystem::path folder, std::string sha256 = {});
  /// Null: pixels.
  const Autoencoder* net() const { return net_.get(); }
  std::int64_t downscale() const { return net_ ? net_->downscale() : pixels_.downscale; }
  std::int64_t channels() const { return net_ ? net_->config().latent_channels : pixels_.channels(); }
  /// uint8 [B,H,W,3] -> scaled latents fp32 [B,C,H/8,W/8]: (mean - shift) * scale, or a sample with
  /// `unit_noise`.
  torch::Tensor encode(const torch::Tensor& pixels_BHW3, const torch::Tensor& unit_noise = {}) const;
  /// Scaled latents -> uint8 [B,H,W,3] (clamped, rounded half to even of 255 (x/2 + .5)).
  torch::Tensor decode(const torch::Tensor& latents_BChw) const;
  /// The network's own: [-1, 1] [B,3,H,W] -> moments [B,2C,h,w]; scaled latents -> [B,3,H,W]; fp32, on the codec's device.
  torch::Tensor moments(const torch::Tensor& image_BCHW) const;
  torch::Tensor picture(const torch::Tensor& latents_BChw) const;
  /// What a manifest says of it.
  CodecFacts facts() const;
  core::Json describe() const { return core::to_json(facts()); }
  void to(torch::Device device);
  /// Another bound for pictures_at_once than kLargestActivation.
  void bound_activations(std::int64_t values) { most_values_ = values; }
  /// bf16: the network computes the layers that gain from it in bf16; fp32 is the default.
  void set_precision(const std::string& precision) { bf16_ = precision == "bf16"; }

 private:
  /// work on pictures_at_once of the batch at a time.
  torch::Tensor in_slices(const torch::Tensor& batch, std::int64_t pixels,
                          const std::function<torch::Tensor(const torch::Tensor&)>& work) const;
  std::shared_ptr<Autoencoder> net_;  ///< null: pixels
  PixelCodec pixels_;
  torch::Device device_ = torch::kCPU;
  std::filesystem::path folder_;
  std::string sha256_;
  bool bf16_ = false;
  std::int64_t most_values_ = kLargestActivation;
};

/// `folder` may be the name of a PixelCodec here and below. UserError: missing folder or file, unknown class, missing scaling factor, missing or extra keys. This and what follows throw
/// core::Stopped when `stop` is seen while weights are hashed or read.
std::shared_ptr<ImageCodec> load_image_codec(const std::filesystem::path& folder,
                                             const std::string& sha256 = {},
                                             const core::StopFlag& stop = core::StopFlag());
/// What load_image_codec(folder)->facts() says, from config.json and the weights' SHA-256 alone.
CodecFacts describe_image_codec(const std::filesystem::path& folder,
                                const core::StopFlag& stop = core::StopFlag());
/// The codec that `facts` name, wherever it lies now (find_folder). UserError when it is not found, or its
/// config.json says otherwise.
std::filesystem::path find_image_codec_folder(const CodecFacts& facts,
                                              const std::filesystem::path& run_folder = {},
                                              const core::StopFlag& stop = core::StopFlag());
std::shared_ptr<ImageCodec> find_image_codec(const CodecFacts& facts,
                                             const std::filesystem::path& run_folder = {},
                                             const core::StopFlag& stop = core::StopFlag());

/// Writes folder/config.json and diffusion_pytorch_model.safetensors (dtype f32 or f16), each aside and
/// renamed.
void save_autoencoder(const std::filesystem::path& folder, const Autoencoder& net, bool half_precision);

}  // namespace microdit::encoders

// Diffusers folders <-> Autoencoder, and the frozen codec in front of it: scaled latents, uint8 pictures.
#include "encoders/image_codec.h"

#include <fmt/ranges.h>
#include <torch/utils.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/later_facts.h"
#include "encoders/codec_config.h"
#include "encoders/weights_folder.h"
#include "nn/autocast.h"
#include "nn/state_dict.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStem = "diffusion_pytorch_model";
constexpr std::int64_t kLargestShuffle = 8;  ///< N of none_N

CodecFacts facts_of(const AutoencoderConfig& c, const fs::path& folder, const std::string& sha256) {
  return {.kind = "AutoencoderKL",
          .folder = folder_hint(folder),
          .sha256 = sha256,
          .network = fmt::format("layers_per_block={} norm_num_groups={} mid_block_add_attention={}",
                                 c.layers_per_block, c.norm_num_groups, c.mid_block_add_attention),
          .scaling_factor = c.scaling_factor,
          .shift_factor = c.shift_factor,
          .latents_mean = c.latents_mean,
          .latents_std = c.latents_std,
          .channels = c.latent_channels,
          .downscale = c.downscale()};
}

CodecFacts facts_of(const PixelCodec& pixels) {
  const std::string kind = pixels.grey ? "grey" : "none";
  return {.kind = kind, .sha256 = kind, .channels = pixels.channels(), .downscale = pixels.downscale};
}

/// uint8 [B,H,W,3] -> fp32 [B,1,H,W], 0 to 255: Pillow's convert("L") in its whole numbers (ITU-R 601-2).
torch::Tensor grey_of(const torch::Tensor& pixels_BHW3) {
  const torch::Tensor p = pixels_BHW3.to(torch::kInt32);
  const auto colour = [&](std::int64_t i, std::int64_t weight) { return p.select(3, i) * weight; };
  return (colour(0, 19595) + colour(1, 38470) + colour(2, 7471) + 0x8000)
      .bitwise_right_shift(16)
      .to(torch::kFloat32)
      .unsqueeze(1);
}

/// The name of a tensor that diffusers before 0.18 and CompVis files call query, key, value or proj_attn.
std::string current_name(std::string_view name) {
  static constexpr std::string_view kAttention = ".attentions.0.";
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> renames = {
      {{"query.", "to_q."}, {"key.", "to_k."}, {"value.", "to_v."}, {"proj_attn.", "to_out.0."}}};
  const auto attention = name.find(kAttention);
  if (attention == name.npos) return std::string(name);
  const auto begin = attention + kAttention.size();
  for (const auto& [former, current] : renames)
    if (name.substr(begin).starts_with(former))
      return fmt::format("{}{}{}", name.substr(0, begin), current, name.substr(begin + former.size()));
  return std::string(name);
}

/// UserError where the config's widths ask for more than the weights hold, before it is allocated: each residual block has a 3 x 3
/// convolution from its width to the same.
void demand_values(const AutoencoderConfig& c, const fs::path& folder) {
  double wanted = 0;
  for (const std::int64_t width : c.block_out_channels)
    wanted += 2.0 * 9 * static_cast<double>(c.layers_per_block) * static_cast<double>(width) *
              static_cast<double>(width);
  const double there = folder_weights_values(folder, kStem);
  if (wanted > there)
    core::user_error(
        "{}: block_out_channels [{}] and layers_per_block {} need at least {:.0f} values, the weights beside "
        "it "
        "hold {:.0f}: it is another network's config",
        (folder / "config.json").string(), fmt::join(c.block_out_channels, ", "), c.layers_per_block, wanted,
        there);
}

/// What a folder with the wanted weights would make otherwise, or "".
std::string difference_to(const CodecFacts& wanted, const fs::path& folder) {
  CodecFacts found = facts_of(read_codec_config(folder), folder, wanted.sha256);
  found.folder = wanted.folder;
  core::Json here = core::to_json(found), there = core::to_json(wanted);
  core::forget_unshared(here, there);
  if (here == there) return "";
  return fmt::format(
      "these weights, but the codec there is {}, the run was trained with {}: restore its config.json",
      here.dump(), there.dump());
}

/// [1, C, 1, 1] like `latents`.
torch::Tensor per_channel(const std::vector<double>& values, const torch::Tensor& latents) {
  return torch::tensor(values, torch::kFloat64).to(latents.options()).view({1, -1, 1, 1});
}

}  // namespace

torch::Tensor scale_latents(const AutoencoderConfig& c, const torch::Tensor& z) {
  if (c.latents_mean.empty()) return z.sub(c.shift_factor).mul(c.scaling_factor);
  return z.sub(per_channel(c.latents_mean, z)).mul(c.scaling_factor).div(per_channel(c.latents_std, z));
}

torch::Tensor unscale_latents(const AutoencoderConfig& c, const torch::Tensor& latents) {
  if (c.latents_mean.empty()) return latents.div(c.scaling_factor).add(c.shift_factor);
  return latents.mul(per_channel(c.latents_std, latents))
      .div(c.scaling_factor)
      .add(per_channel(c.latents_mean, latents));
}

std::int64_t pictures_at_once(const AutoencoderConfig& c, std::int64_t batch, std::int64_t pixels,
                              std::int64_t most_values) {
  const std::vector<std::int64_t>& widths = c.block_out_channels;
  std::int64_t largest =
      1;  // values of the largest activation: the decoder enlarges the next level's channels
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const std::int64_t channels = std::max(widths[i], widths[std::min(i + 1, widths.size() - 1)]);
    largest = std::max(largest, channels * (pixels >> (2 * i)));
  }
  std::int64_t count = std::clamp<std::int64_t>(most_values / largest, 1, std::max<std::int64_t>(batch, 1));
  while (batch % count != 0) --count;
  return count;
}

std::string PixelCodec::name() const {
  return fmt::format("{}{}", grey ? "grey" : "none", downscale > 1 ? fmt::format("_{}", downscale) : "");
}

std::optional<PixelCodec> pixel_codec(const fs::path& name) {
  for (const bool grey : {false, true})
    for (std::int64_t n = 1; n <= kLargestShuffle; ++n)
      if (const PixelCodec one{grey, n}; name == one.name()) return one;
  return std::nullopt;
}

std::optional<PixelCodec> pixel_codec(const CodecFacts& facts) {
  if (facts.kind != "none" && facts.kind != "grey") return std::nullopt;
  return PixelCodec{facts.kind == "grey", std::max<std::int64_t>(facts.downscale, 1)};
}

ImageCodec::ImageCodec(const PixelCodec& pixels) : pixels_(pixels) {}

ImageCodec::ImageCodec(std::shared_ptr<Autoencoder> net, fs::path folder, std::string sha256)
    : net_(std::move(net)), folder_(folder.lexically_normal()), sha256_(std::move(sha256)) {
  core::check(net_->config().scaling_factor > 0, "a codec needs a scaling factor");
  if (!folder_.empty() && sha256_.empty()) sha256_ = folder_weights_sha256(folder_, kStem);
}

void ImageCodec::to(torch::Device device) {
  device_ = device;
  if (net_) net_->to(device);
}

torch::Tensor ImageCodec::moments(const torch::Tensor& image_BCHW) const {
  core::check(net_ != nullptr, "moments of no codec");
  const torch::NoGradGuard no_grad;
  const torch::Device device = device_;
  return in_slices(image_BCHW, image_BCHW.size(2) * image_BCHW.size(3), [&](const torch::Tensor& some) {
    const nn::Autocast autocast(bf16_, device);
    return net_->encode_moments(some.to(device, torch::kFloat32)).to(torch::kFloat32);
  });
}

torch::Tensor ImageCodec::picture(const torch::Tensor& latents_BChw) const {
  const torch::NoGradGuard no_grad;
  const torch::Device device = device_;
  if (!net_) {
    const torch::Tensor plain = latents_BChw.to(device, torch::kFloat32);
    return at::pixel_shuffle(plain, pixels_.downscale).expand({-1, 3, -1, -1});
  }
  const std::int64_t pixels =
      latents_BChw.size(2) * latents_BChw.size(3) * net_->downscale() * net_->downscale();
  return in_slices(latents_BChw, pixels, [&](const torch::Tensor& some) {
    const nn::Autocast autocast(bf16_, device);
    return net_->decode(unscale_latents(net_->config(), some.to(device, torch::kFloat32)))
        .to(torch::kFloat32);
  });
}

torch::Tensor ImageCodec::in_slices(const torch::Tensor& batch, std::int64_t pixels,
                                    const std::function<torch::Tensor(const torch::Tensor&)>& work) const {
  const std::int64_t count = pictures_at_once(net_->config(), batch.size(0), pixels, most_values_);
  if (count >= batch.size(0)) return work(batch);
  std::vector<torch::Tensor> parts;
  for (std::int64_t first = 0; first < batch.size(0); first += count)
    parts.push_back(work(batch.narrow(0, first, count)));
  return torch::cat(parts);
}

torch::Tensor ImageCodec::encode(const torch::Tensor& pixels_BHW3, const torch::Tensor& unit_noise) const {
  const torch::NoGradGuard no_grad;
  const std::int64_t colours = net_ ? net_->config().in_channels : 3;
  core::check(
      pixels_BHW3.dim() == 4 && pixels_BHW3.size(3) == colours && pixels_BHW3.scalar_type() == torch::kUInt8,
      "codec encode takes uint8 [B, H, W, {}]", colours);
  core::check(pixels_BHW3.size(1) % downscale() == 0 && pixels_BHW3.size(2) % downscale() == 0,
              "picture {}x{} is not a multiple of {} pixels", pixels_BHW3.size(1), pixels_BHW3.size(2),
              downscale());
  const torch::Tensor here = pixels_BHW3.to(device_);
  const torch::Tensor bytes = !net_ && pixels_.grey ? grey_of(here) : here.permute({0, 3, 1, 2});
  const torch::Tensor image = bytes.to(torch::kFloat32).div(255).mul(2).sub(1);
  if (!net_) return at::pixel_unshuffle(image, pixels_.downscale).contiguous();
  const auto& c = net_->config();
  const torch::Tensor both = moments(image);
  torch::Tensor z = both.narrow(1, 0, c.latent_channels);
  if (unit_noise.defined()) {
    const torch::Tensor log_variance = both.narrow(1, c.latent_channels, c.latent_channels).clamp(-30, 20);
    z = z + log_variance.mul(0.5).exp() * unit_noise.to(device_);
  }
  return scale_latents(c, z).contiguous();
}

torch::Tensor ImageCodec::decode(const torch::Tensor& latents_BChw) const {
  const torch::NoGradGuard no_grad;
  core::check(latents_BChw.dim() == 4 && latents_BChw.size(1) == channels(),
              "codec decode takes [B, {}, h, w]", channels());
  const torch::Tensor image =
      picture(latents_BChw).div(2).add(0.5).clamp(0, 1).mul(255).round().to(torch::kUInt8);
  return image.permute({0, 2, 3, 1}).contiguous();
}

CodecFacts ImageCodec::facts() const {
  if (!net_) return facts_of(pixels_);
  return facts_of(net_->config(), folder_, sha256_);
}

CodecFacts describe_image_codec(const fs::path& folder, const core::StopFlag& stop) {
  if (const auto pixels = pixel_codec(folder)) return facts_of(*pixels);
  return facts_of(read_codec_config(folder), folder.lexically_normal(),
                  folder_weights_sha256(folder, kStem, stop));
}

fs::path find_image_codec_folder(const CodecFacts& facts, const fs::path& run_folder,
                                 const core::StopFlag& stop) {
  if (const auto pixels = pixel_codec(facts)) return pixels->name();
  const auto sha256_of = [&](const fs::path& folder) { return folder_weights_sha256(folder, kStem, stop); };
  const auto difference = [&](const fs::path& folder) { return difference_to(facts, folder); };
  return find_folder({"codec", facts.folder, facts.sha256, sha256_of, difference}, run_folder);
}

std::shared_ptr<ImageCodec> find_image_codec(const CodecFacts& facts, const fs::path& run_folder,
                                             const core::StopFlag& stop) {
  return load_image_codec(find_image_codec_folder(facts, run_folder, stop), facts.sha256, stop);
}

std::shared_ptr<ImageCodec> load_image_codec(const fs::path& folder, const std::string& sha256,
                                             const core::StopFlag& stop) {
  if (const auto pixels = pixel_codec(folder)) return std::make_shared<ImageCodec>(*pixels);
  const AutoencoderConfig config = read_codec_config(folder);
  demand_values(config, folder);
  auto net = std::make_shared<Autoencoder>(config);
  load_folder_weights(folder, kStem, nn::state_dict(*net), current_name, stop);
  net->eval();
  for (auto& parameter : net->parameters()) parameter.requires_grad_(false);
  return std::make_shared<ImageCodec>(std::move(net), folder, sha256);
}

void save_autoencoder(const fs::path& folder, const Autoencoder& net, bool half_precision) {
  core::check(net.config().scaling_factor > 0, "scaling_factor must be known before an autoencoder is saved");
  fs::create_directories(folder);
  nn::StateDict state = nn::state_dict(net);
  for (auto& [name, tensor] : state)
    tensor = tensor.detach().to(torch::kCPU, half_precision ? torch::kFloat16 : torch::kFloat32);
  nn::save_tensors(folder / fmt::format("{}.safetensors", kStem), state);
  core::write_json(folder / "config.json", to_diffusers(net.config()));
}

}  // namespace microdit::encoders

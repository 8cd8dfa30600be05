// Diffusers folders <-> Autoencoder, and the frozen codec in front of it: scaled latents, uint8 pictures.
#include "encoders/image_codec.h"

#include <torch/utils.h>
#include <algorithm>
#include <array>

#include "core/error.h"
#include "encoders/weights_folder.h"
#include "nn/autocast.h"
#include "nn/state_dict.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStem = "diffusion_pytorch_model";

void check_blocks(const core::Json& config, const char* key, const char* only, std::size_t count,
                  const std::string& file) {
  if (!config.contains(key)) return;
  const core::Json& blocks = config[key];
  const bool fits = blocks.is_array() && blocks.size() == count &&
                    std::all_of(blocks.begin(), blocks.end(), [&](const core::Json& b) { return b == only; });
  if (!fits)
    core::user_error("{}: {} is {}; only {} times {} is supported", file, key, blocks.dump(), count, only);
}

/// What other versions of the format may say and this codec does not do.
void check_unsupported(const core::Json& config, const std::string& file) {
  static constexpr std::array known = {"in_channels",    "out_channels",        "down_block_types",
                                       "up_block_types", "block_out_channels",  "layers_per_block",
                                       "act_fn",         "latent_channels",     "norm_num_groups",
                                       "sample_size",    "scaling_factor",      "shift_factor",
                                       "latents_mean",   "latents_std",         "force_upcast",
                                       "use_quant_conv", "use_post_quant_conv", "mid_block_add_attention"};
  for (const auto& [key, value] : config.items()) {
    if (key.starts_with('_')) continue;
    if (std::find(known.begin(), known.end(), key) == known.end())
      core::user_error("{}: key {} is not one of an AutoencoderKL", file, key);
    if (key.starts_with("latents_") && !value.is_null())
      core::user_error("{}: {} is {}; only null is supported (use scaling_factor and shift_factor)", file,
                       key, value.dump());
    if (key == "act_fn" && value != "silu")
      core::user_error("{}: act_fn is {}; only \"silu\" is supported", file, value.dump());
  }
}

void check_range(const AutoencoderConfig& c, const std::string& file) {
  const std::array<std::pair<const char*, std::int64_t>, 6> counts = {
      {{"in_channels", c.in_channels},
       {"out_channels", c.out_channels},
       {"layers_per_block", c.layers_per_block},
       {"latent_channels", c.latent_channels},
       {"norm_num_groups", c.norm_num_groups},
       {"sample_size", c.sample_size}}};
  for (const auto& [key, value] : counts)
    if (value < 1) core::user_error("{}: {} is {}, must be at least 1", file, key, value);
  for (const auto width : c.block_out_channels)
    if (width < 1 || width % c.norm_num_groups != 0)
      core::user_error("{}: norm_num_groups {} does not divide the width {} of block_out_channels", file,
                       c.norm_num_groups, width);
  if (!(c.scaling_factor > 0))
    core::user_error("{}: scaling_factor is {}, must be positive", file, c.scaling_factor);
}

AutoencoderConfig parse_config(const core::Json& json, const fs::path& folder) {
  const std::string file = (folder / "config.json").string();
  const std::string kind = config_text(json, "_class_name", "", folder / "config.json");
  if (kind != "AutoencoderKL")
    core::user_error("{}: _class_name is \"{}\"; only \"AutoencoderKL\" is supported", file, kind);
  check_unsupported(json, file);
  if (!json.contains("scaling_factor") || json["scaling_factor"].is_null())
    core::user_error(
        "{}: scaling_factor is missing; add the value the model's authors give (it is 1/std of the latents)",
        file);
  AutoencoderConfig c;
  const auto widths = json.find("block_out_channels");
  if (widths == json.end() || !widths->is_array() || widths->empty() ||
      !std::all_of(widths->begin(), widths->end(), [](const core::Json& w) { return w.is_number_integer(); }))
    core::user_error("{}: block_out_channels must be a list of integers", file);
  c.block_out_channels = widths->get<std::vector<std::int64_t>>();
  c.in_channels = config_integer(json, "in_channels", 3, folder / "config.json");
  c.out_channels = config_integer(json, "out_channels", 3, folder / "config.json");
  c.layers_per_block = config_integer(json, "layers_per_block", 1, folder / "config.json");
  c.latent_channels = config_integer(json, "latent_channels", 4, folder / "config.json");
  c.norm_num_groups = config_integer(json, "norm_num_groups", 32, folder / "config.json");
  c.sample_size = config_integer(json, "sample_size", 32, folder / "config.json");
  c.scaling_factor = config_number(json, "scaling_factor", 0, folder / "config.json");
  c.shift_factor = config_number(json, "shift_factor", 0, folder / "config.json");
  c.use_quant_conv = config_flag(json, "use_quant_conv", true, folder / "config.json");
  c.use_post_quant_conv = config_flag(json, "use_post_quant_conv", true, folder / "config.json");
  c.mid_block_add_attention = config_flag(json, "mid_block_add_attention", true, folder / "config.json");
  check_blocks(json, "down_block_types", "DownEncoderBlock2D", c.block_out_channels.size(), file);
  check_blocks(json, "up_block_types", "UpDecoderBlock2D", c.block_out_channels.size(), file);
  check_range(c, file);
  return c;
}

CodecFacts facts_of(const AutoencoderConfig& c, const fs::path& folder, const std::string& sha256) {
  return {.kind = "AutoencoderKL",
          .folder = folder_hint(folder),
          .sha256 = sha256,
          .network = fmt::format("layers_per_block={} norm_num_groups={} mid_block_add_attention={}",
                                 c.layers_per_block, c.norm_num_groups, c.mid_block_add_attention),
          .scaling_factor = c.scaling_factor,
          .shift_factor = c.shift_factor,
          .channels = c.latent_channels,
          .downscale = c.downscale()};
}

core::Json to_diffusers(const AutoencoderConfig& c) {
  const auto blocks = c.block_out_channels.size();
  core::Json json;
  json["_class_name"] = "AutoencoderKL";
  json["act_fn"] = "silu";
  json["block_out_channels"] = c.block_out_channels;
  json["down_block_types"] = std::vector<std::string>(blocks, "DownEncoderBlock2D");
  json["force_upcast"] = true;
  json["in_channels"] = c.in_channels;
  json["latent_channels"] = c.latent_channels;
  json["latents_mean"] = nullptr;
  json["latents_std"] = nullptr;
  json["layers_per_block"] = c.layers_per_block;
  json["mid_block_add_attention"] = c.mid_block_add_attention;
  json["norm_num_groups"] = c.norm_num_groups;
  json["out_channels"] = c.out_channels;
  json["sample_size"] = c.sample_size;
  json["scaling_factor"] = c.scaling_factor;
  json["shift_factor"] = c.shift_factor == 0 ? core::Json(nullptr) : core::Json(c.shift_factor);
  json["up_block_types"] = std::vector<std::string>(blocks, "UpDecoderBlock2D");
  json["use_post_quant_conv"] = c.use_post_quant_conv;
  json["use_quant_conv"] = c.use_quant_conv;
  return json;
}

/// Names of diffusers before 0.18 and of CompVis files: query, key, value, proj_attn, as 1x1 convolutions
/// perhaps.
nn::StateDict with_current_names(const nn::StateDict& state) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> renames = {
      {{"query", "to_q"}, {"key", "to_k"}, {"value", "to_v"}, {"proj_attn", "to_out.0"}}};
  nn::StateDict current;
  for (const auto& [name, tensor] : state) {
    std::string renamed = name;
    const auto attention = name.find(".attentions.0.");
    if (attention != std::string::npos) {
      const auto begin = attention + std::string_view(".attentions.0.").size();
      for (const auto& [old_name, new_name] : renames)
        if (name.compare(begin, old_name.size() + 1, std::string(old_name) + ".") == 0)
          renamed = name.substr(0, begin) + std::string(new_name) + name.substr(begin + old_name.size());
    }
    const bool as_convolution =
        attention != std::string::npos && tensor.dim() == 4 && tensor.size(2) == 1 && tensor.size(3) == 1;
    current[renamed] = as_convolution ? tensor.flatten(1) : tensor;
  }
  return current;
}

}  // namespace

ImageCodec::ImageCodec(std::shared_ptr<Autoencoder> net, fs::path folder, std::string sha256)
    : net_(std::move(net)), folder_(folder.lexically_normal()), sha256_(std::move(sha256)) {
  core::check(net_->config().scaling_factor > 0, "a codec needs a scaling factor");
  if (!folder_.empty() && sha256_.empty()) sha256_ = folder_weights_sha256(folder_, kStem);
}

torch::Tensor ImageCodec::encode(const torch::Tensor& pixels_BHW3, const torch::Tensor& unit_noise) const {
  const torch::NoGradGuard no_grad;
  const auto& c = net_->config();
  core::check(pixels_BHW3.dim() == 4 && pixels_BHW3.size(3) == c.in_channels &&
                  pixels_BHW3.scalar_type() == torch::kUInt8,
              "codec encode takes uint8 [B, H, W, {}]", c.in_channels);
  core::check(pixels_BHW3.size(1) % net_->downscale() == 0 && pixels_BHW3.size(2) % net_->downscale() == 0,
              "picture {}x{} is not a multiple of {} pixels", pixels_BHW3.size(1), pixels_BHW3.size(2),
              net_->downscale());
  const torch::Device device = net_->parameters().front().device();
  const torch::Tensor image =
      pixels_BHW3.to(device).permute({0, 3, 1, 2}).to(torch::kFloat32).div(255).mul(2).sub(1);
  const torch::Tensor moments = [&] {
    const nn::Autocast autocast(bf16_, device);
    return net_->encode_moments(image).to(torch::kFloat32);
  }();
  torch::Tensor z = moments.narrow(1, 0, c.latent_channels);
  if (unit_noise.defined()) {
    const torch::Tensor log_variance = moments.narrow(1, c.latent_channels, c.latent_channels).clamp(-30, 20);
    z = z + log_variance.mul(0.5).exp() * unit_noise.to(device);
  }
  return z.sub(c.shift_factor).mul(c.scaling_factor).contiguous();
}

torch::Tensor ImageCodec::decode(const torch::Tensor& latents_BChw) const {
  const torch::NoGradGuard no_grad;
  const auto& c = net_->config();
  core::check(latents_BChw.dim() == 4 && latents_BChw.size(1) == c.latent_channels,
              "codec decode takes [B, {}, h, w]", c.latent_channels);
  const torch::Tensor z = latents_BChw.to(net_->parameters().front().device(), torch::kFloat32)
                              .div(c.scaling_factor)
                              .add(c.shift_factor);
  const torch::Tensor image = net_->decode(z).div(2).add(0.5).clamp(0, 1).mul(255).round().to(torch::kUInt8);
  return image.permute({0, 2, 3, 1}).contiguous();
}

CodecFacts ImageCodec::facts() const {
  return facts_of(net_->config(), folder_, sha256_);
}

CodecFacts describe_image_codec(const fs::path& folder, const core::StopFlag& stop) {
  return facts_of(parse_config(read_folder_config(folder), folder), folder.lexically_normal(),
                  folder_weights_sha256(folder, kStem, stop));
}

std::shared_ptr<ImageCodec> find_image_codec(const CodecFacts& facts, const fs::path& run_folder) {
  const auto sha256_of = [](const fs::path& folder) { return folder_weights_sha256(folder, kStem); };
  const fs::path folder = find_folder({"codec", facts.folder, facts.sha256, sha256_of}, run_folder);
  auto codec = load_image_codec(folder, facts.sha256);
  CodecFacts here = codec->facts();
  here.folder = facts.folder;
  if (facts.network.empty()) here.network.clear();  // written before this was
  if (core::to_json(here) != core::to_json(facts)) {
    core::user_error("{}: the codec there is {}, the run was trained with {}: restore its config.json",
                     folder.string(), core::to_json(here).dump(), core::to_json(facts).dump());
  }
  return codec;
}

std::shared_ptr<ImageCodec> load_image_codec(const fs::path& folder, const std::string& sha256) {
  const AutoencoderConfig config = parse_config(read_folder_config(folder), folder);
  auto net = std::make_shared<Autoencoder>(config);
  nn::load_state_dict(*net, with_current_names(read_folder_weights(folder, kStem)), folder.string());
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

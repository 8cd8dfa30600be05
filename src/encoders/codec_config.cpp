// Reading and checking config.json of an AutoencoderKL, and writing it.
#include "encoders/codec_config.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "encoders/weights_folder.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

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
    if (key == "act_fn" && value != "silu")
      core::user_error("{}: act_fn is {}; only \"silu\" is supported", file, value.dump());
  }
}

constexpr std::int64_t kMostBlocks = 16;

void check_range(const AutoencoderConfig& c, const std::string& file) {
  const std::array<std::pair<const char*, std::int64_t>, 6> counts = {
      {{"in_channels", c.in_channels},
       {"out_channels", c.out_channels},
       {"layers_per_block", c.layers_per_block},
       {"latent_channels", c.latent_channels},
       {"norm_num_groups", c.norm_num_groups},
       {"sample_size", c.sample_size}}};
  for (const auto& [key, value] : counts)
    if (value < 1 || value > kLargestCount)
      core::user_error("{}: {} is {}; it must be from 1 to {}", file, key, value, kLargestCount);
  if (c.layers_per_block > kMostLayers)
    core::user_error("{}: layers_per_block is {}; it must be from 1 to {}", file, c.layers_per_block,
                     kMostLayers);
  for (const auto width : c.block_out_channels)
    if (width < 1 || width > kLargestCount || width % c.norm_num_groups != 0)
      core::user_error("{}: norm_num_groups {} does not divide the width {} of block_out_channels", file,
                       c.norm_num_groups, width);
  if (!(c.scaling_factor > 0))
    core::user_error("{}: scaling_factor is {}, must be positive", file, c.scaling_factor);
}

/// config[key] as one finite number per latent channel; empty when absent or null.
std::vector<double> read_statistics(const core::Json& config, const char* key, std::int64_t channels,
                                    const std::string& file) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return {};
  const bool fits =
      found->is_array() && std::ssize(*found) == channels &&
      std::all_of(found->begin(), found->end(), [](const core::Json& v) { return v.is_number(); });
  if (!fits)
    core::user_error("{}: {} is {}; it must be one number for each of the {} latent_channels", file, key,
                     found->dump(), channels);
  return found->get<std::vector<double>>();
}

/// latents_mean and latents_std come together, and without shift_factor: no pipeline of diffusers applies one of them alone, or
/// the shift beside them, so that nobody can say what latents such a config means.
void check_statistics(const AutoencoderConfig& c, const std::string& file) {
  if (c.latents_mean.empty() != c.latents_std.empty())
    core::user_error("{}: {} is missing, or null; {} means nothing without it", file,
                     c.latents_mean.empty() ? "latents_mean" : "latents_std",
                     c.latents_mean.empty() ? "latents_std" : "latents_mean");
  if (!c.latents_mean.empty() && c.shift_factor != 0)
    core::user_error("{}: shift_factor is {}; beside latents_mean it must be null or 0", file,
                     c.shift_factor);
  for (const double std_dev : c.latents_std)
    if (!(std_dev > 0)) core::user_error("{}: latents_std has {}; all must be positive", file, std_dev);
}

}  // namespace

AutoencoderConfig read_codec_config(const fs::path& folder) {
  const core::Json json = read_folder_config(folder);
  const std::string file = (folder / "config.json").string();
  const std::string kind = config_text(json, "_class_name", "", folder / "config.json");
  if (kind != "AutoencoderKL")
    core::user_error("{}: _class_name is \"{}\"; only \"AutoencoderKL\" is supported", file, kind);
  check_unsupported(json, file);
  if (!json.contains("scaling_factor") || json["scaling_factor"].is_null())
    core::user_error(
        "{}: scaling_factor is missing; add the value the model's authors give (it is 1/std of the latents, "
        "or of "
        "what latents_std leaves)",
        file);
  AutoencoderConfig c;
  const auto widths = json.find("block_out_channels");
  if (widths == json.end() || !widths->is_array() || widths->empty() || std::ssize(*widths) > kMostBlocks ||
      !std::all_of(widths->begin(), widths->end(), [](const core::Json& w) { return w.is_number_integer(); }))
    core::user_error("{}: block_out_channels must be a list of 1 to {} integers", file, kMostBlocks);
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
  c.latents_mean = read_statistics(json, "latents_mean", c.latent_channels, file);
  c.latents_std = read_statistics(json, "latents_std", c.latent_channels, file);
  check_range(c, file);
  check_statistics(c, file);
  return c;
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
  json["latents_mean"] = c.latents_mean.empty() ? core::Json(nullptr) : core::Json(c.latents_mean);
  json["latents_std"] = c.latents_std.empty() ? core::Json(nullptr) : core::Json(c.latents_std);
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

}  // namespace microdit::encoders

// What is legal in a U-Net.
#include "models/unet_config.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"

namespace microdit::models {
namespace {

constexpr std::int64_t kMaxWidth = 1 << 16, kMaxLayers = 64;
constexpr std::size_t kMaxLevels = 12;

bool crosses(const std::string& type) {
  return type.find("CrossAttn") != type.npos;
}

/// A key of diffusers that has one legal value here, or none: `only` empty. null is always legal: it is what most of them are.
void has_only(core::Fields& f, const char* key, std::string_view only) {
  std::vector<std::string> values;  // a list where diffusers takes one value per level
  f.field(key, values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
  if (values.empty()) return;
  const std::string value = values.size() == 1 ? values[0] : "a list of different values";
  if (value == only) return;
  // JSON's and YAML's ways to write the same: True, 1.0.
  std::string lower = value;
  std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  if (lower == only || lower == std::string(only) + ".0") return;
  f.error(key, only.empty() ? fmt::format("{} is not known here; leave the key out", value)
                            : fmt::format("{} is not known here; only {} is", value, only));
}

/// Keys of which diffusers makes nothing, or something else than its default, where they are null.
constexpr const char* kNeverNull[] = {"down_block_types",
                                      "up_block_types",
                                      "block_out_channels",
                                      "layers_per_block",
                                      "transformer_layers_per_block",
                                      "act_fn",
                                      "norm_num_groups",
                                      "norm_eps",
                                      "resnet_time_scale_shift",
                                      "mid_block_scale_factor",
                                      "add_attention",
                                      "downsample_padding",
                                      "flip_sin_to_cos",
                                      "freq_shift",
                                      "only_cross_attention",
                                      "time_embedding_type",
                                      "conv_in_kernel",
                                      "conv_out_kernel",
                                      "dropout"};

bool says_null(const core::Fields& f, const char* key) {
  return f.given(std::string(key) + "=null");
}

void refuse_nulls(core::Fields& f) {
  for (const char* key : kNeverNull)
    if (says_null(f, key))
      f.error(key, "null is no value of it in diffusers; leave the key out for what it is by default");
}

/// What diffusers' files also say, so that they are taken as they are and what would change the network is refused.
void foreign_fields(core::Fields& f) {
  // Of no effect on the network that is built here.
  std::string word;
  std::vector<std::string> words;
  for (const char* key : {"_diffusers_version", "_name_or_path", "upcast_attention", "num_train_timesteps",
                          "addition_embed_type_num_heads"})
    f.field(key, word);
  f.field("_use_default_values", words);
  for (const char* key : {"only_cross_attention", "mid_block_only_cross_attention", "dual_cross_attention",
                          "class_embeddings_concat", "resnet_skip_time_act"})
    has_only(f, key, "false");
  for (const char* key :
       {"encoder_hid_dim", "encoder_hid_dim_type", "num_attention_heads", "class_embed_type",
        "addition_embed_type", "addition_time_embed_dim", "time_embedding_act_fn", "timestep_post_act",
        "time_cond_proj_dim", "projection_class_embeddings_input_dim", "cross_attention_norm",
        "reverse_transformer_layers_per_block"})
    has_only(f, key, "");
  has_only(f, "time_embedding_type", "positional");
  has_only(f, "attention_type", "default");
  has_only(f, "downsample_type", "conv");
  has_only(f, "upsample_type", "conv");
  has_only(f, "conv_in_kernel", "3");
  has_only(f, "conv_out_kernel", "3");
  has_only(f, "resnet_out_scale_factor", "1");
  has_only(f, "dropout", "0");
}

}  // namespace

void number_or_list(core::Fields& f, const char* key, std::vector<std::int64_t>& values, std::int64_t min,
                    std::int64_t max, const char* help) {
  if (!f.reading()) {
    if (values.size() == 1)
      f.field(key, values[0], {.help = help});
    else
      f.field(key, values, {.help = help});
    return;
  }
  std::vector<std::string> words;
  f.field(key, words, {.help = help});
  if (!f.given(key)) return;
  std::vector<std::int64_t> found;
  for (const std::string& word : words) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || value < min || value > max)
      return f.error(key, fmt::format("\"{}\" must be a whole number of {} to {}", word, min, max));
    found.push_back(value);
  }
  values = found;
}

std::int64_t UnetConfig::at(const std::vector<std::int64_t>& list, std::int64_t level) {
  return list.size() == 1 ? list[0] : list.at(static_cast<std::size_t>(level));
}

bool UnetConfig::has_cross_attention() const {
  return crosses(mid_block_type) || std::ranges::any_of(down_block_types, crosses) ||
         std::ranges::any_of(up_block_types, crosses);
}

std::int64_t UnetConfig::time_width() const {
  return time_embedding_dim > 0 ? time_embedding_dim : 4 * block_out_channels[0];
}

/// Which of the two it is; where the file does not say, by keys that only one of them has, else by its blocks.
void UnetConfig::read_class(core::Fields& f) {
  f.field("_class_name", class_name,
          {.choices = {"UNet2DConditionModel", "UNet2DModel"}, .help = "by its blocks where it is left out"});
  if (!f.reading()) return;
  if (!f.given("_class_name")) {
    UnetConfig blocks;
    f.field("down_block_types", blocks.down_block_types);
    f.field("up_block_types", blocks.up_block_types);
    blocks.mid_block_type = "UNetMidBlock2D";
    f.field("mid_block_type", blocks.mid_block_type);
    const auto given = [&](const char* key) { return f.given(key) || says_null(f, key); };
    const bool no_text = !blocks.has_cross_attention() && !given("cross_attention_dim") &&
                         !given("caption_channels") && !given("mid_block_type");
    if (given("add_attention") || given("downsample_type") || given("upsample_type") || no_text)
      class_name = "UNet2DModel";
  }
  if (!is_plain()) return;
  mid_block_type = "UNetMidBlock2D";
  down_block_types = {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"};
  up_block_types = {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"};
  block_out_channels = {224, 448, 672, 896};
}

void UnetConfig::fields(core::Fields& f, std::int64_t& in_channels) {
  read_class(f);
  f.field("down_block_types", down_block_types,
          {.choices = {"DownBlock2D", "AttnDownBlock2D", "CrossAttnDownBlock2D"}, .help = "one per level"});
  f.field(
      "mid_block_type", mid_block_type,
      {.choices = {"UNetMidBlock2DCrossAttn", "UNetMidBlock2D", "none"}, .help = "none, or null: no middle"});
  if (f.given("mid_block_type=null")) mid_block_type = "none";
  f.field("up_block_types", up_block_types,
          {.choices = {"UpBlock2D", "AttnUpBlock2D", "CrossAttnUpBlock2D"},
           .help = "one per level, the coarsest first"});
  f.field("block_out_channels", block_out_channels,
          {.min = 1, .max = kMaxWidth, .help = "width of each level, the finest first"});
  number_or_list(f, "layers_per_block", layers_per_block, 1, kMaxLayers, "one for all levels, or one each");
  number_or_list(f, "transformer_layers_per_block", transformer_layers_per_block, 1, kMaxLayers,
                 "one for all levels, or one each");
  number_or_list(
      f, "attention_head_dim", attention_head_dim, 0, kMaxWidth,
      "cross-attention: the number of heads; attention among pixels: a head's width; 0 or null in a "
      "UNet2DModel: one head");
  f.field("use_linear_projection", use_linear_projection);
  f.field("act_fn", act_fn, {.choices = {"silu", "swish", "mish", "gelu", "relu"}});
  f.field("norm_num_groups", norm_num_groups, {.min = 1});
  f.field("attn_norm_num_groups", attn_norm_num_groups, {.min = 0, .help = "of a UNet2DModel's middle"});
  f.field("norm_eps", norm_eps, {.min = 0});
  f.field("resnet_time_scale_shift", resnet_time_scale_shift, {.choices = {"default", "scale_shift"}});
  f.field("mid_block_scale_factor", mid_block_scale_factor, {.min = 0, .exclusive_min = true});
  f.field("add_attention", add_attention, {.help = "in a UNet2DModel's middle"});
  f.field("downsample_padding", downsample_padding, {.min = 0, .max = 1});
  f.field("time_embedding_dim", time_embedding_dim,
          {.min = 0, .max = 4 * kMaxWidth, .help = "0 = four times the first width"});
  f.field("center_input_sample", center_input_sample, {.help = "the network sees 2 x - 1"});
  f.field("flip_sin_to_cos", flip_sin_to_cos);
  f.field("freq_shift", freq_shift, {.min = 0, .max = 1});
  if (!f.reading()) return;
  refuse_nulls(f);
  if (f.given("attention_head_dim=null")) attention_head_dim = {0};
  foreign_fields(f);
  std::int64_t out_channels = 0;
  f.field("out_channels", out_channels, {.min = 1});
  if (in_channels == 0) in_channels = out_channels;
  if (out_channels != 0 && out_channels != in_channels)
    f.error("out_channels",
            fmt::format("{}, and in_channels {}: a network that gives another number of channels than it "
                        "takes is not known here",
                        out_channels, in_channels));
  check(f);
}

void UnetConfig::check(core::Fields& f) const {
  const std::size_t levels = block_out_channels.size();
  if (levels == 0 || levels > kMaxLevels)
    return f.error("block_out_channels", fmt::format("{} levels; 1 to {} can be", levels, kMaxLevels));
  bool counts_agree = true;
  const auto count = [&](const char* key, std::size_t size, bool one_for_all) {
    if (size == levels || (one_for_all && size == 1)) return;
    counts_agree = false;
    f.error(key, fmt::format("has {} entries; block_out_channels has {}", size, levels));
  };
  count("down_block_types", down_block_types.size(), false);
  count("up_block_types", up_block_types.size(), false);
  count("layers_per_block", layers_per_block.size(), true);
  count("transformer_layers_per_block", transformer_layers_per_block.size(), true);
  count("attention_head_dim", attention_head_dim.size(), true);
  if (is_plain())
    for (const auto& [key, list] :
         {std::pair{"layers_per_block", &layers_per_block}, {"attention_head_dim", &attention_head_dim}})
      if (list->size() > 1) f.error(key, "a UNet2DModel has one number for all levels");
  if (!is_plain() && std::ranges::find(attention_head_dim, 0) != attention_head_dim.end())
    f.error("attention_head_dim",
            "0 or null: a UNet2DConditionModel cannot be without; give the number of heads (of attention "
            "among "
            "pixels: a head's width)");
  if (is_plain() && has_cross_attention())
    f.error("_class_name", "a UNet2DModel has no cross-attention blocks; UNet2DConditionModel has");
  for (const std::int64_t width : block_out_channels)
    if (width % norm_num_groups != 0)
      return f.error("norm_num_groups",
                     fmt::format("{} does not divide the width {}", norm_num_groups, width));
  if (attn_norm_num_groups > 0 && block_out_channels.back() % attn_norm_num_groups != 0)
    f.error("attn_norm_num_groups",
            fmt::format("{} does not divide the width {}", attn_norm_num_groups, block_out_channels.back()));
  if (static_cast<double>(block_out_channels[0] / 2) <= freq_shift)
    f.error("block_out_channels",
            fmt::format("the first width {} leaves no frequency for the time", block_out_channels[0]));
  if (counts_agree) check_attention(f);
}

void UnetConfig::check_attention(core::Fields& f) const {
  const auto divides = [&](std::int64_t width, std::int64_t number, const char* what) {
    if (number > 0 && width % number != 0)
      f.error("attention_head_dim", fmt::format("{} {} do not divide the width {}", number, what, width));
  };
  const auto level = [&](const std::string& type, std::int64_t width, std::int64_t number) {
    if (crosses(type)) divides(width, number, "heads");
    if (type.starts_with("Attn")) divides(width, number, "channels of a head");
  };
  for (std::int64_t i = 0; i < levels(); ++i) {
    const auto from_coarse = static_cast<std::size_t>(levels() - 1 - i);
    const auto fine = static_cast<std::size_t>(i);
    level(down_block_types[fine], block_out_channels[fine], at(attention_head_dim, i));
    // A quirk of diffusers': heads' widths of an AttnUpBlock2D are counted from the coarsest level.
    const bool quirk = up_block_types[from_coarse].starts_with("Attn");
    level(up_block_types[from_coarse], block_out_channels[fine],
          at(attention_head_dim, quirk ? levels() - 1 - i : i));
  }
  const bool middle_attends =
      is_plain() ? add_attention && mid_block_type != "none" : crosses(mid_block_type);
  if (middle_attends)
    divides(block_out_channels.back(), at(attention_head_dim, levels() - 1),
            is_plain() ? "channels of a head" : "heads");
}

}  // namespace microdit::models

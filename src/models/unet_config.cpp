// What is legal in a U-Net.
#include "models/unet_config.h"

#include <algorithm>

#include "core/format.h"

namespace microdit::models {
namespace {

bool crosses(const std::string& type) { return type.find("CrossAttn") != type.npos; }

}  // namespace

std::int64_t UnetConfig::at(const std::vector<std::int64_t>& list, std::int64_t level) {
  return list.size() == 1 ? list[0] : list.at(static_cast<std::size_t>(level));
}

bool UnetConfig::has_cross_attention() const {
  return crosses(mid_block_type) || std::ranges::any_of(down_block_types, crosses) ||
         std::ranges::any_of(up_block_types, crosses);
}

void UnetConfig::fields(core::Fields& f, const std::int64_t& in_channels) {
  const core::FieldRule positive{.min = 1};
  f.field("_class_name", class_name, {.choices = {"UNet2DConditionModel", "UNet2DModel"}});
  const bool plain = class_name == "UNet2DModel";
  if (f.reading() && plain) {  // its own defaults
    mid_block_type = "UNetMidBlock2D";
    down_block_types = {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"};
    up_block_types = {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"};
    block_out_channels = {224, 448, 672, 896};
  }
  f.field("down_block_types", down_block_types,
          {.choices = {"DownBlock2D", "AttnDownBlock2D", "CrossAttnDownBlock2D"}, .help = "one per level"});
  f.field("mid_block_type", mid_block_type, {.choices = {"UNetMidBlock2DCrossAttn", "UNetMidBlock2D"}});
  f.field("up_block_types", up_block_types,
          {.choices = {"UpBlock2D", "AttnUpBlock2D", "CrossAttnUpBlock2D"}, .help = "one per level"});
  f.field("block_out_channels", block_out_channels, {.min = 1, .help = "one per level"});
  f.field("layers_per_block", layers_per_block, {.min = 1, .help = "one for all levels, or one per level"});
  f.field("transformer_layers_per_block", transformer_layers_per_block, positive);
  f.field("attention_head_dim", attention_head_dim,
          {.min = 1, .help = "cross-attention: the number of heads; attention among pixels: a head's width"});
  f.field("use_linear_projection", use_linear_projection);
  f.field("act_fn", act_fn, {.choices = {"silu", "swish", "mish", "gelu", "relu"}});
  f.field("norm_num_groups", norm_num_groups, positive);
  f.field("norm_eps", norm_eps, {.min = 0});
  f.field("resnet_time_scale_shift", resnet_time_scale_shift, {.choices = {"default", "scale_shift"}});
  f.field("mid_block_scale_factor", mid_block_scale_factor, {.min = 0, .exclusive_min = true});
  if (plain) f.field("add_attention", add_attention, {.help = "of the middle"});
  f.field("downsample_padding", downsample_padding, {.min = 0, .max = 1});
  f.field("center_input_sample", center_input_sample, {.help = "the network sees 2 x - 1"});
  f.field("flip_sin_to_cos", flip_sin_to_cos);
  f.field("freq_shift", freq_shift, {.min = 0, .max = 1});
  std::int64_t out_channels = 0;
  double dropout = 0;
  if (f.reading()) {  // known from diffusers' files, with one legal value
    f.field("out_channels", out_channels, {.min = 0});
    f.field("dropout", dropout, {.min = 0});
    if (out_channels != 0 && in_channels != 0 && out_channels != in_channels)
      f.error("out_channels", fmt::format("{} of in_channels {}: a network that also predicts a variance is "
                                          "not known here",
                                          out_channels, in_channels));
    if (dropout != 0) f.error("dropout", "only 0 is known here");
  }
  if (!f.reading()) return;
  const auto count = [&](const char* key, std::size_t size, bool one_for_all) {
    if (size != block_out_channels.size() && !(one_for_all && size == 1))
      f.error(key, fmt::format("has {} entries; block_out_channels has {}", size, block_out_channels.size()));
  };
  if (block_out_channels.empty()) f.error("block_out_channels", "needs one entry per level");
  count("down_block_types", down_block_types.size(), false);
  count("up_block_types", up_block_types.size(), false);
  count("layers_per_block", layers_per_block.size(), true);
  count("transformer_layers_per_block", transformer_layers_per_block.size(), true);
  count("attention_head_dim", attention_head_dim.size(), true);
  if (plain && has_cross_attention())
    f.error("_class_name", "a UNet2DModel has no cross-attention blocks; UNet2DConditionModel has");
  for (const std::int64_t width : block_out_channels)
    if (width % norm_num_groups != 0)
      f.error("norm_num_groups", fmt::format("{} does not divide the width {}", norm_num_groups, width));
}

}  // namespace microdit::models

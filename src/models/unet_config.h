// The keys of a U-Net: diffusers' own (UNet2DConditionModel and UNet2DModel of diffusers 0.42), so that a config.json of its reads as ours.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"

namespace microdit::models {

/// Lists that diffusers also takes as one number have one entry for all levels, or one per level. null means what it means in
/// diffusers (no middle, one head), not "left out" as in other sections; where it makes nothing of it, it is refused.
struct UnetConfig {
  std::string class_name = "UNet2DConditionModel";  ///< | UNet2DModel: other defaults, no text
  std::vector<std::string> down_block_types = {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
                                               "CrossAttnDownBlock2D", "DownBlock2D"};
  std::string mid_block_type = "UNetMidBlock2DCrossAttn";  ///< | UNetMidBlock2D | none
  std::vector<std::string> up_block_types = {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
                                             "CrossAttnUpBlock2D"};
  std::vector<std::int64_t> block_out_channels = {320, 640, 1280, 1280};
  std::vector<std::int64_t> layers_per_block = {2};
  std::vector<std::int64_t> transformer_layers_per_block = {1};
  /// Of cross-attention blocks the number of heads (diffusers' name says otherwise), of attention among pixels a head's width;
  /// 0, a UNet2DModel's null: one head as wide as the level.
  std::vector<std::int64_t> attention_head_dim = {8};
  bool use_linear_projection = false;  ///< of the text transformers: Linear instead of 1 x 1 convolutions
  std::string act_fn = "silu";
  std::int64_t norm_num_groups = 32;
  std::int64_t attn_norm_num_groups = 0;  ///< of UNet2DModel's middle; 0: norm_num_groups
  double norm_eps = 1e-5;
  std::string resnet_time_scale_shift = "default";  ///< | scale_shift: the time scales the norm, too
  double mid_block_scale_factor = 1;
  bool add_attention = true;  ///< of UNet2DModel's middle
  std::int64_t downsample_padding = 1;
  std::int64_t time_embedding_dim = 0;  ///< 0: four times the first width
  bool center_input_sample = false;     ///< 2 x - 1 first
  bool flip_sin_to_cos = true;
  double freq_shift = 0;

  /// `in_channels`: of the picture; where it is 0, `out_channels` says it. They must be the same.
  void fields(core::Fields& f, std::int64_t& in_channels);

  /// UNet2DModel: its middle has attention among pixels, and the time's activation is SiLU whatever act_fn says.
  bool is_plain() const { return class_name == "UNet2DModel"; }
  bool has_cross_attention() const;
  std::int64_t levels() const { return static_cast<std::int64_t>(block_out_channels.size()); }
  std::int64_t time_width() const;
  /// The entry of a level, of a list with one for all.
  static std::int64_t at(const std::vector<std::int64_t>& list, std::int64_t level);

 private:
  void read_class(core::Fields& f);
  void check(core::Fields& f) const;
  void check_attention(core::Fields& f) const;
};

/// One number, or a list of numbers; printed as it was given.
void number_or_list(core::Fields& f, const char* key, std::vector<std::int64_t>& values, std::int64_t min,
                    std::int64_t max, const char* help);

}  // namespace microdit::models

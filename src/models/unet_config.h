// The keys of a U-Net: diffusers' own (UNet2DConditionModel and UNet2DModel of diffusers 0.42), so that a config.json of its reads as ours.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"

namespace microdit::models {

/// Lists that diffusers also takes as one number have one entry for all levels, or one per level.
struct UnetConfig {
  std::string class_name = "UNet2DConditionModel";  ///< | UNet2DModel: other defaults, no text
  std::vector<std::string> down_block_types = {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
                                               "CrossAttnDownBlock2D", "DownBlock2D"};
  std::string mid_block_type = "UNetMidBlock2DCrossAttn";
  std::vector<std::string> up_block_types = {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
                                             "CrossAttnUpBlock2D"};
  std::vector<std::int64_t> block_out_channels = {320, 640, 1280, 1280};
  std::vector<std::int64_t> layers_per_block = {2};
  std::vector<std::int64_t> transformer_layers_per_block = {1};
  /// Of cross-attention blocks the number of heads (diffusers' name says otherwise), of pixels' own attention the head's width.
  std::vector<std::int64_t> attention_head_dim = {8};
  bool use_linear_projection = false;  ///< of the text transformers: Linear instead of 1 x 1 convolutions
  std::string act_fn = "silu";
  std::int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  std::string resnet_time_scale_shift = "default";  ///< | scale_shift: the time scales the norm, too
  double mid_block_scale_factor = 1;
  bool add_attention = true;  ///< of UNet2DModel's middle
  std::int64_t downsample_padding = 1;
  bool center_input_sample = false;  ///< 2 x - 1 first
  bool flip_sin_to_cos = true;
  double freq_shift = 0;

  /// `in_channels`: of the picture; `out_channels` must be the same.
  void fields(core::Fields& f, const std::int64_t& in_channels);

  std::int64_t levels() const { return static_cast<std::int64_t>(block_out_channels.size()); }
  bool has_cross_attention() const;
  /// The entry of a level, of a list with one for all.
  static std::int64_t at(const std::vector<std::int64_t>& list, std::int64_t level);
};

}  // namespace microdit::models

// A U-Net of two levels that takes text, as a config's section `model`.
#pragma once

#include <string>
#include <vector>

#include "models/denoiser.h"

namespace microdit::models {

struct ModelFile {
  DenoiserConfig model;
  void fields(core::Fields& f) { f.section("model", model); }
};

/// `more`: keys that come on top, or instead.
inline DenoiserConfig small(const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {"kind=unet",
                                    "in_channels=3",
                                    "block_out_channels=[8, 16]",
                                    "norm_num_groups=4",
                                    "down_block_types=[DownBlock2D, CrossAttnDownBlock2D]",
                                    "up_block_types=[CrossAttnUpBlock2D, UpBlock2D]",
                                    "cross_attention_dim=6",
                                    "attention_head_dim=2",
                                    "layers_per_block=1"};
  words.insert(words.end(), more.begin(), more.end());
  for (std::string& word : words) word = "model." + word;
  return core::load<ModelFile>(core::ConfigTree::of_overrides(words)).model;
}

}  // namespace microdit::models

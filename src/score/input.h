// Pictures to a network's input, as the Python tools prepare them.
#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "image/image.h"

namespace microdit::score {

/// How a picture is brought to the network's size (never cropped):
///   clean_fid    Pillow's bicubic, which widens when it shrinks, per channel in fp32, cut to 0 to 255 (Parmar et al. 2022)
///   pytorch_fid  torch's bilinear without antialias (align_corners=False), on values from 0 to 1
inline const std::vector<std::string> kResizes = {"clean_fid", "pytorch_fid"};

/// fp32 [3, size, size] on the CPU. `scaling`: inception, ((x - 128) / 128 behind clean_fid, 2 x / 255 - 1 behind pytorch_fid), or
/// imagenet (x / 255 less the mean, over the deviation, of torchvision's transforms).
torch::Tensor network_input(const image::Image& picture, std::int64_t size, const std::string& resize,
                            const std::string& scaling);

}  // namespace microdit::score

// Both towers of CLIP with their projections: pictures and captions as directions of one space (Radford et al. 2021).
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/stop_flag.h"

namespace microdit::encoders {

/// How the picture tower wants its pictures.
struct ClipInput {
  std::int64_t size = 224;
  bool squash = false;  ///< resized to size x size as a whole; else the shorter side, and the centre cut out
  std::vector<double> mean, deviation;  ///< of pixels from 0 to 1, per channel
};

class ClipPair {
 public:
  virtual ~ClipPair() = default;
  virtual const ClipInput& input() const = 0;
  /// fp32 [B, 3, S, S], normalised as input() says -> fp32 [B, E] of length 1, on the device.
  virtual torch::Tensor pictures(const torch::Tensor& x_BCHW) const = 0;
  /// -> fp32 [B, E] of length 1, on the device.
  virtual torch::Tensor captions(const std::vector<std::string>& captions) const = 0;
  virtual void to(torch::Device device) = 0;
  virtual const std::string& sha256() const = 0;  ///< of the weights
};

/// All that decides what a folder's pair gives, beside the weights: the config's values of the picture tower. Nothing is loaded.
std::string clip_pair_network(const std::filesystem::path& folder);
/// open_clip's folders (open_clip_config.json, a plain ViT) and transformers' CLIPModel folders (config.json with vision_config).
/// UserError: no such folder, another kind of tower, weights that do not fit. Throws core::Stopped when `stop` is seen.
std::unique_ptr<ClipPair> load_clip_pair(const std::filesystem::path& folder,
                                         const core::StopFlag& stop = core::StopFlag());

}  // namespace microdit::encoders

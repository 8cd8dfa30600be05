// Pictures to rows of patches and back.
#pragma once

#include <memory>

#include "nn/linear.h"

namespace microdit::nn {

/// [B, C, H, W] -> [B, T, C p p], patches row by row, channel first inside one (a convolution weight's
/// order).
torch::Tensor patchify(const torch::Tensor& x_BCHW, std::int64_t patch_size);
/// [B, T, p p C], channel last inside a patch -> [B, C, s p, s p] with s = sqrt(T).
torch::Tensor unpatchify(const torch::Tensor& x_BTP, std::int64_t patch_size);

/// A p x p convolution with stride p, computed as one matrix product; parameters `proj.weight` [D, C, p, p],
/// `proj.bias`.
class PatchEmbed : public torch::nn::Module {
 public:
  PatchEmbed(std::int64_t in_channels, std::int64_t patch_size, std::int64_t dim);
  torch::Tensor forward(const torch::Tensor& x_BCHW) const;

 private:
  torch::Tensor weight_, bias_;
  std::int64_t patch_size_;
};

}  // namespace microdit::nn

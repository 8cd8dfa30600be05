// Resizing and scaling.
#include "score/input.h"

#include <torch/utils.h>

#include "core/error.h"
#include "image/resize.h"

namespace microdit::score {
namespace {

/// [3, H, W], from 0 to 255.
torch::Tensor pixels(const image::Image& picture) {
  return torch::from_blob(const_cast<std::uint8_t*>(picture.pixels.data()),
                          {picture.height, picture.width, 3}, torch::kByte)
      .permute({2, 0, 1})
      .to(torch::kFloat)
      .contiguous();
}

torch::Tensor clean_fid(const image::Image& picture, std::int64_t size) {
  std::vector<float> values = image::resize_bicubic_exact(picture, size, size);
  return torch::from_blob(values.data(), {size, size, 3}, torch::kFloat)
      .clamp(0, 255)
      .permute({2, 0, 1})
      .contiguous();
}

/// From 0 to 1.
torch::Tensor pytorch_fid(const image::Image& picture, std::int64_t size) {
  const torch::Tensor x = pixels(picture).div_(255).unsqueeze(0);
  return at::upsample_bilinear2d(x, {size, size}, /*align_corners=*/false).squeeze(0);
}

}  // namespace

torch::Tensor network_input(const image::Image& picture, std::int64_t size, const std::string& resize,
                            const std::string& scaling) {
  const torch::NoGradGuard no_grad;
  const bool clean = resize == "clean_fid";
  core::check(clean || resize == "pytorch_fid", "resize {}", resize);
  torch::Tensor x_CHW = clean ? clean_fid(picture, size) : pytorch_fid(picture, size);
  if (scaling == "inception") return clean ? (x_CHW - 128) / 128 : 2 * x_CHW - 1;
  core::check(scaling == "imagenet", "scaling {}", scaling);
  const torch::Tensor mean = torch::tensor({0.485F, 0.456F, 0.406F}).view({3, 1, 1});
  const torch::Tensor deviation = torch::tensor({0.229F, 0.224F, 0.225F}).view({3, 1, 1});
  return ((clean ? x_CHW / 255 : x_CHW) - mean) / deviation;
}

}  // namespace microdit::score

// Patch embedding and its inverse layout.
#include "nn/patch.h"

#include <ATen/autocast_mode.h>

#include <cmath>

#include "core/error.h"
#include "nn/kernels/matmul.h"

namespace microdit::nn {

torch::Tensor patchify(const torch::Tensor& x_BCHW, std::int64_t patch_size) {
  const std::int64_t rows = x_BCHW.size(2) / patch_size, columns = x_BCHW.size(3) / patch_size;
  return x_BCHW.reshape({x_BCHW.size(0), x_BCHW.size(1), rows, patch_size, columns, patch_size})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({x_BCHW.size(0), rows * columns, x_BCHW.size(1) * patch_size * patch_size});
}

torch::Tensor unpatchify(const torch::Tensor& x_BTP, std::int64_t patch_size) {
  const auto side = static_cast<std::int64_t>(std::sqrt(static_cast<double>(x_BTP.size(1))));
  core::check(side * side == x_BTP.size(1), "{} patches are no square", x_BTP.size(1));
  const std::int64_t channels = x_BTP.size(2) / (patch_size * patch_size);
  return x_BTP.reshape({x_BTP.size(0), side, side, patch_size, patch_size, channels})
      .permute({0, 5, 1, 3, 2, 4})
      .reshape({x_BTP.size(0), channels, side * patch_size, side * patch_size});
}

PatchEmbed::PatchEmbed(std::int64_t in_channels, std::int64_t patch_size, std::int64_t dim)
    : patch_size_(patch_size) {
  const auto proj = register_module("proj", std::make_shared<torch::nn::Module>());
  weight_ = proj->register_parameter("weight", torch::empty({dim, in_channels, patch_size, patch_size}));
  bias_ = proj->register_parameter("bias", torch::empty({dim}));
}

torch::Tensor PatchEmbed::forward(const torch::Tensor& x_BCHW) const {
  const bool autocast = at::autocast::is_autocast_enabled(x_BCHW.device().type());
  const torch::Tensor x = patchify(autocast ? x_BCHW : x_BCHW.to(weight_.scalar_type()), patch_size_);
  return kernels::linear(x, weight_.flatten(1), bias_);
}

}  // namespace microdit::nn

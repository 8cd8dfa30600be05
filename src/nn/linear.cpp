// Linear and LayerNorm.
#include "nn/linear.h"

#include <ATen/autocast_mode.h>

#include "nn/kernels/matmul.h"
#include "nn/kernels/norm_modulate.h"
#include "nn/precision.h"

namespace microdit::nn {

Linear::Linear(std::int64_t in, std::int64_t out, bool with_bias) {
  weight = register_parameter("weight", torch::empty({out, in}));
  if (with_bias) bias = register_parameter("bias", torch::empty({out}));
}

torch::Tensor Linear::forward(const torch::Tensor& x) const {
  const bool autocast = at::autocast::is_autocast_enabled(x.device().type());
  return kernels::linear(autocast ? x : x.to(weight.scalar_type()), weight, bias);
}

torch::Tensor Linear::forward_fp32(const torch::Tensor& x) const {
  const Fp32Island island(x.device());
  return kernels::linear(x.to(torch::kFloat), weight.to(torch::kFloat),
                         bias.defined() ? bias.to(torch::kFloat) : torch::Tensor());
}

LayerNorm::LayerNorm(std::int64_t dim, double eps) : eps_(eps) {
  weight = register_parameter("weight", torch::empty({dim}));
}

torch::Tensor LayerNorm::forward(const torch::Tensor& x) const {
  return kernels::norm_modulate(x, weight, {}, {}, eps_);
}

torch::Tensor LayerNorm::forward(const torch::Tensor& x_BTD, const torch::Tensor& shift_BD,
                                 const torch::Tensor& scale_BD) const {
  return kernels::norm_modulate(x_BTD, weight, shift_BD, scale_BD, eps_);
}

}  // namespace microdit::nn

// Autocast guards and the choice of the CPU kernels.
#include "nn/precision.h"

#include <ATen/autocast_mode.h>

namespace microdit::nn {

Fp32Island::Fp32Island(torch::Device device)
    : type_(device.type()), was_enabled_(at::autocast::is_autocast_enabled(type_)) {
  at::autocast::set_autocast_enabled(type_, false);
}

Fp32Island::~Fp32Island() {
  at::autocast::set_autocast_enabled(type_, was_enabled_);
}

bool takes_cpu_kernel(std::initializer_list<torch::Tensor> tensors) {
  if (at::autocast::is_autocast_enabled(torch::kCPU)) return false;
  for (const torch::Tensor& tensor : tensors) {
    if (tensor.defined() && !(tensor.is_cpu() && tensor.scalar_type() == torch::kFloat)) return false;
  }
  return true;
}

bool takes_bf16_kernel(std::initializer_list<torch::Tensor> tensors) {
  for (const torch::Tensor& tensor : tensors) {
    if (tensor.defined() && !(tensor.is_cpu() && tensor.scalar_type() == torch::kBFloat16)) return false;
  }
  return true;
}

bool multiplies_bf16(const torch::Tensor& x) {
#if defined(__x86_64__)
  static const bool has_instructions = __builtin_cpu_supports("avx512bf16") != 0;
#else
  static const bool has_instructions = false;
#endif
  return has_instructions && x.is_cpu() && x.is_floating_point() &&
         at::autocast::is_autocast_enabled(torch::kCPU) &&
         at::autocast::get_autocast_dtype(torch::kCPU) == torch::kBFloat16;
}

}  // namespace microdit::nn

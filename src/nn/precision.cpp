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

}  // namespace microdit::nn

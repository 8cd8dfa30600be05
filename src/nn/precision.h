// Where fp32 is kept under autocast, and when the fp32 CPU kernels may be used.
#pragma once

#include <torch/types.h>

#include <initializer_list>

namespace microdit::nn {

/// Autocast is off while it lives: time embedding and routing stay fp32 (design section 5).
class Fp32Island {
 public:
  explicit Fp32Island(torch::Device device);
  ~Fp32Island();
  Fp32Island(const Fp32Island&) = delete;
  Fp32Island& operator=(const Fp32Island&) = delete;

 private:
  c10::DeviceType type_;
  bool was_enabled_;
};

/// True for fp32 CPU tensors without autocast. Undefined tensors do not matter.
bool takes_cpu_kernel(std::initializer_list<torch::Tensor> tensors);

/// True for bf16 CPU tensors: the kernels read and write bf16 and compute in fp32.
bool takes_bf16_kernel(std::initializer_list<torch::Tensor> tensors);

/// True where autocast wants products of CPU tensors in bf16, and this processor has instructions for them.
bool multiplies_bf16(const torch::Tensor& x);

}  // namespace microdit::nn

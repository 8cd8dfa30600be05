// A tensor's values as the CPU kernels see them: fp32 or bf16.
#pragma once

#include <torch/types.h>

#include "nn/kernels/simd.h"

namespace microdit::nn::kernels {

/// T: float or Bf16, which the tensor must hold.
template <class T>
T* data_of(const torch::Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

/// fp32 rows in memory order; a [B, D] chunk of a wider row is used as it lies.
inline torch::Tensor float_rows(const torch::Tensor& t) {
  const torch::Tensor wide = t.to(torch::kFloat);
  return wide.stride(-1) == 1 ? wide : wide.contiguous();
}

/// work(float()) for fp32, work(Bf16()) for bf16.
template <class Work>
void by_type(const torch::Tensor& tensor, const Work& work) {
  if (tensor.scalar_type() == torch::kBFloat16)
    work(Bf16());
  else
    work(float());
}

}  // namespace microdit::nn::kernels

// Tensors as arrays of an .npz.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <vector>

#include "score/npz.h"

namespace microdit::score {

inline Array to_array(const torch::Tensor& tensor) {
  const torch::Tensor packed = tensor.to(torch::kCPU, torch::kDouble).contiguous();
  const double* data = packed.const_data_ptr<double>();
  return {packed.sizes().vec(), std::vector<double>(data, data + packed.numel())};
}

/// fp64, CPU.
inline torch::Tensor to_tensor(const Array& array) {
  torch::Tensor tensor = torch::empty(array.shape, torch::kDouble);
  std::copy(array.values.begin(), array.values.end(), tensor.mutable_data_ptr<double>());
  return tensor;
}

}  // namespace microdit::score

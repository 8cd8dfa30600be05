// Committed tensors and facts of other implementations.
#pragma once

#include <torch/types.h>

#include <map>
#include <string>

#include "core/json.h"
#include "core/weights_file.h"

namespace microdit::diffusion {

inline std::map<std::string, torch::Tensor> read_golden_tensors(const std::string& name) {
  const core::WeightsFile file(MICRODIT_SOURCE_DIR "/tests/diffusion/goldens/" + name);
  std::map<std::string, torch::Tensor> all;
  for (const auto& [key, info] : file.tensors()) {
    if (info.dtype != core::DType::f32 && info.dtype != core::DType::f64) continue;
    const auto type = info.dtype == core::DType::f32 ? torch::kFloat : torch::kDouble;
    torch::Tensor tensor = torch::empty(info.shape, torch::TensorOptions().dtype(type));
    if (tensor.numel() > 0) file.read(key, {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()});
    all.emplace(key, tensor);
  }
  return all;
}

inline core::Json read_golden_facts(const std::string& name) {
  return core::read_json(MICRODIT_SOURCE_DIR "/tests/diffusion/goldens/" + name);
}

}  // namespace microdit::diffusion

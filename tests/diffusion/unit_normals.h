// Where samplers of the tests start.
#pragma once

#include <torch/types.h>

#include "core/seed.h"
#include "diffusion/sampler.h"

namespace microdit::diffusion {

inline torch::Tensor unit_normals(std::uint64_t stream, at::IntArrayRef shape = {64, 4, 8, 8}) {
  torch::Tensor t = torch::empty(shape);
  core::CounterRng(11, core::Purpose::sampler, stream)
      .fill_normal({t.mutable_data_ptr<float>(), static_cast<std::size_t>(t.numel())});
  return t;
}

inline SampleInput start_of(const torch::Tensor& x) {
  return {.unit_BCHW = x};
}

}  // namespace microdit::diffusion

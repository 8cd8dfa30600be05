// CUDA side of the fused optimizer pass.
#include <cuda_runtime.h>

#include <algorithm>

#include "nn/kernels/adamw_arithmetic.h"

namespace microdit::nn {
namespace {

__global__ void update(AdamWBuffers b, AdamWConstants c) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < b.count;
       i += stride) {
    b.weights[i] = adamw_element(c, b.weights[i], b.gradients[i], b.exp_avg[i], b.exp_avg_sq[i]);
    if (b.ema != nullptr) b.ema[i] = average_element(c, b.ema[i], b.weights[i]);
  }
}

}  // namespace

const char* enqueue_adamw(const AdamWBuffers& buffers, const AdamWConstants& constants, void* stream) {
  constexpr int kThreads = 256;
  cudaLaunchConfig_t launch{};
  launch.gridDim =
      static_cast<unsigned>(std::clamp<std::int64_t>((buffers.count + kThreads - 1) / kThreads, 1, 4096));
  launch.blockDim = kThreads;
  launch.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error = cudaLaunchKernelEx(&launch, update, buffers, constants);
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace microdit::nn

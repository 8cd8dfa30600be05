// CUDA side of the fused optimizer pass.
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "nn/kernels/adamw.h"
#include "nn/kernels/adamw_arithmetic.h"

namespace microdit::nn {
namespace kernel {

__global__ void adamw(AdamWBuffers b, AdamWConstants c) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < b.count;
       i += stride) {
    const float weight = adamw_element(c, b.weights[i], b.gradients[i], b.exp_avg[i], b.exp_avg_sq[i]);
    b.weights[i] = weight;
    if (b.ema != nullptr) b.ema[i] = c.ema_decay * b.ema[i] + c.one_minus_ema_decay * weight;
  }
}

}  // namespace kernel

void adamw_cuda(const AdamWBuffers& buffers, const AdamWStep& step, void* stream) {
  if (buffers.count == 0) return;
  constexpr int kThreads = 256;
  const std::int64_t wanted = (buffers.count + kThreads - 1) / kThreads;
  const int blocks = static_cast<int>(wanted < 4096 ? wanted : 4096);
  kernel::adamw<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(buffers, fold(step));
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("adamw kernel: ") + cudaGetErrorString(error));
}

}  // namespace microdit::nn

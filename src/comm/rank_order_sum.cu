// The rank-order sum on the GPU. Plain fp32 additions: the same bits as on the CPU.
#include <cuda_runtime.h>

#include <algorithm>

#include "comm/rank_order_sum.h"

namespace microdit::comm {
namespace {

__global__ void sum_pieces(DevicePieces in, std::int64_t count, float* out) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    float sum = in.own_rank == 0 ? in.own[i] : in.pieces[i];
    for (int r = 1; r < in.num_pieces; ++r) {
      sum = __fadd_rn(sum, r == in.own_rank ? in.own[i] : in.pieces[r * in.pitch + i]);
    }
    out[i] = sum;
  }
}

}  // namespace

int sum_in_rank_order_cuda(const DevicePieces& in, std::int64_t count, float* out, void* stream) {
  constexpr int kThreads = 256;
  cudaLaunchConfig_t launch{};
  launch.gridDim =
      static_cast<unsigned>(std::clamp<std::int64_t>((count + kThreads - 1) / kThreads, 1, 8192));
  launch.blockDim = kThreads;
  launch.stream = static_cast<cudaStream_t>(stream);
  return static_cast<int>(cudaLaunchKernelEx(&launch, sum_pieces, in, count, out));
}

}  // namespace microdit::comm

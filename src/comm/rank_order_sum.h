// The sum whose order is promised: ((p0 + p1) + p2) + ... in fp32. Private to comm.
#pragma once

#include <cstdint>
#include <span>

namespace microdit::comm {

/// out[i] = sum over r, in rank order, of pieces[r][i]. `out` may be one of the pieces.
void sum_in_rank_order(std::span<const float* const> pieces, std::int64_t count, float* out);

/// The same on the GPU: piece r begins at pieces + r * pitch (device memory), except piece `own_rank`, which
/// is at `own`.
struct DevicePieces {
  const float* pieces = nullptr;
  std::int64_t pitch = 0;
  int num_pieces = 0;
  const float* own = nullptr;
  int own_rank = 0;
};
/// Enqueued on `stream` (a cudaStream_t). Returns the CUDA error code of the launch, 0 = fine.
int sum_in_rank_order_cuda(const DevicePieces& in, std::int64_t count, float* out, void* stream);

}  // namespace microdit::comm

// The two ways of CUDA buffers between ranks. Private to comm; only builds with CUDA have them.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string_view>

#include "comm/device_path.h"
#include "core/device_fault.h"

namespace microdit::comm {

inline constexpr const char* kLessMemory =
    "; end what else uses this GPU, or lower microbatch_size or batch_size";

/// Out of memory is a question of settings; every other error of CUDA is a fault.
inline void must_cuda(cudaError_t code, std::string_view call) {
  if (code == cudaSuccess) return;
  if (code == cudaErrorMemoryAllocation)
    core::system_error("{} failed: out of memory on the GPU{}", call, kLessMemory);
  throw core::DeviceFault(fmt::format("{} failed: {}", call, cudaGetErrorString(code)));
}

/// NCCL: every rank has a GPU of its own, the current device. Received pieces take `scratch_floats` of its
/// memory, over all peers; larger sums go in rounds. Everything that it needs is reserved when this returns.
/// Collective.
inline constexpr std::int64_t kScratchFloats = std::int64_t{64} << 20;  // 256 MiB
std::unique_ptr<DevicePath> make_nccl_path(Communicator& comm, Watchdog& watchdog,
                                           std::int64_t scratch_floats = kScratchFloats);
/// Through pinned host memory (`staged_floats` of it, over all pieces) and the host collectives: ranks may
/// share a GPU.
inline constexpr std::int64_t kStagedFloats = std::int64_t{8} << 20;  // 32 MiB
std::unique_ptr<DevicePath> make_staged_path(Communicator& comm, std::int64_t staged_floats = kStagedFloats);

}  // namespace microdit::comm

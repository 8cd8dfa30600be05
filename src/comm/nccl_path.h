// The two ways of CUDA buffers between ranks. Private to comm; only builds with CUDA have them.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string_view>

#include "core/error.h"
#include "comm/device_path.h"

namespace microdit::comm {

/// Out of memory is a question of settings; every other error of CUDA is a fault.
inline void must_cuda(cudaError_t code, std::string_view call) {
  if (code == cudaSuccess) return;
  if (code == cudaErrorMemoryAllocation) {
    core::system_error("{} failed: out of memory on the GPU; lower microbatch_size or batch_size", call);
  }
  core::fault_error("{} failed: {}", call, cudaGetErrorString(code));
}

/// NCCL: every rank has a GPU of its own, the current device. Collective.
std::unique_ptr<DevicePath> make_nccl_path(Communicator& comm, Watchdog& watchdog);
/// Through pinned host memory and the host collectives: ranks may share a GPU.
std::unique_ptr<DevicePath> make_staged_path(Communicator& comm);

}  // namespace microdit::comm

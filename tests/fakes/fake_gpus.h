// What a test says to the fake GPUs of its process: which there are, how they run, and what breaks.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "cuda_runtime_api.h"
#include "nccl.h"
#include "simt.h"

namespace microdit::fakes {

struct Gpu {
  std::string uuid;  ///< 16 bytes or fewer; what tells it from every other GPU anywhere
  std::string name = "Fake GPU";
  int pci_bus = 0;
  std::size_t memory_bytes = std::size_t{16} << 30;
};

/// The GPUs that this process sees from now on. All that was there before is gone: streams, memory, faults.
void plug_in(const std::vector<Gpu>& gpus);
/// `count` GPUs of one node.
void plug_in(int count, const std::string& node = "node");
/// cudaGetDeviceCount gives this error.
void hide_gpus(cudaError_t why);

/// Work on a stream begins only `seconds` after it was enqueued, or as soon as somebody waits for it (or for
/// what depends on it): whoever forgets to wait reads what was there before. 0 = at once.
void set_lateness(double seconds);
/// The order of blocks and threads of kernels.
void set_order(Order order);

/// From the next work on, the GPU fails with this error, and so does every call that needs it: what CUDA
/// calls a sticky error.
void break_gpu(int device, cudaError_t error);
/// Others use all but `bytes` of what is not allocated now.
void leave_memory(int device, std::size_t bytes);
/// After `calls` more calls that enqueue, the next one never returns: the queue is full and nothing drains
/// it.
void block_enqueueing(int calls = 0);
/// From now on no collective of NCCL comes to its end.
void hang_collectives();
/// NCCL's calls that enqueue fail with this error from now on; with `later`, only ncclCommGetAsyncError says
/// so and nothing more comes to its end.
void fail_nccl(ncclResult_t error, bool later);

/// GPUs on which this process has made a context.
std::set<int> used_gpus();
/// Bytes allocated on a GPU now.
std::size_t used_bytes(int device);
/// What the last failed kernel, copy or free did wrong, in words.
std::string last_fault();

}  // namespace microdit::fakes

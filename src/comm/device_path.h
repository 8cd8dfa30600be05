// The seam between comm and CUDA: GPUs, and what the communicator does with buffers that lie on them. Private to comm.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "comm/watchdog.h"

namespace microdit::comm {

/// Collectives on CUDA buffers; same contracts as the Communicator's.
class DevicePath {
 public:
  virtual ~DevicePath() = default;
  virtual void reduce_scatter_sum(Buffer in, Buffer out) = 0;
  virtual void all_gather(Buffer in, Buffer out) = 0;
};

/// Collective over `comm`, on the current CUDA device. NCCL when every rank has a GPU of its own, else staged
/// through `comm`'s host collectives.
std::unique_ptr<DevicePath> make_device_path(Communicator& comm, bool own_gpus, Watchdog& watchdog);

/// The GPUs that this process sees, for choose_device().
struct VisibleGpus {
  int count = 0;
  std::string why_none{};  ///< "" when there are some
};
VisibleGpus visible_gpus();
/// Makes GPU `index` the current one of this thread. Returns what tells its card from every other one
/// anywhere: the UUID, or for a slice of a card (MIG), which has its own, machine and place. NCCL refuses two
/// slices of one card.
std::string take_gpu(int index);

/// out = in on in.stream.
void copy_on_device(const Buffer& in, const Buffer& out);

}  // namespace microdit::comm

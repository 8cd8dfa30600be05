// The seam between the MPI communicator and CUDA: what it does with buffers that lie on a GPU. Private to
// dist.
#pragma once

#include <memory>

#include "dist/communicator.h"
#include "dist/watchdog.h"

namespace microdit::dist {

/// Collectives on CUDA buffers; same contracts as the Communicator's.
class DevicePath {
 public:
  virtual ~DevicePath() = default;
  virtual void reduce_scatter_sum(FloatBuffer in, FloatBuffer out) = 0;
  virtual void all_gather(FloatBuffer in, FloatBuffer out) = 0;
};

/// Collective over `comm`. NCCL when every rank has a GPU of its own, else staged through `comm`'s host
/// collectives. Null in a build without CUDA or when no rank sees a GPU.
std::unique_ptr<DevicePath> make_device_path(Communicator& comm, int num_visible_gpus, Watchdog& watchdog);

/// out = in on in.stream.
void copy_on_device(const FloatBuffer& in, const FloatBuffer& out);

}  // namespace microdit::dist

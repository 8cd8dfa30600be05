// Where a rank computes: the one place that picks a GPU.
#pragma once

#include <string>

#include "comm/communicator.h"

namespace microdit::comm {

struct Device {
  bool cuda = false;
  int index = 0;
  /// "cpu" or "cuda:3"; torch::Device takes it.
  std::string name() const;
};

/// The device of this rank for `setting` (cpu | cuda | auto: cuda where every rank sees a GPU). cuda: GPU
/// number local_rank modulo the visible ones becomes the current one of this thread before anything else of
/// CUDA is touched; then the way of CUDA buffers between ranks is chosen (NCCL when no two ranks are on the
/// same card; staged, with a warning, else). Collective. UserError on all ranks when one of them sees no GPU,
/// with its host and the reason.
Device choose_device(Communicator& comm, const std::string& setting);

/// UserError where `setting` is cuda and this build can use no GPU, whatever the machine. Touches no driver.
void demand_cuda_build(const std::string& setting);

}  // namespace microdit::comm

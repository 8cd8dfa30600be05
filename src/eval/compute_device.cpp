// One GPU per rank of a node, in turn.
#include "eval/compute_device.h"

#include <torch/cuda.h>

#include "core/error.h"

namespace microdit::eval {

torch::Device compute_device(const std::string& device, dist::Communicator& comm) {
  if (device == "cpu") return torch::kCPU;
  const auto gpus = static_cast<int>(torch::cuda::device_count());
  if (gpus == 0) {
    core::user_error(
        "device=cuda: no usable GPU (a build without CUDA, no driver, or none given by Slurm); "
        "run `doctor env`, or set device=cpu");
  }
  dist::enable_cuda(comm, gpus);
  return {torch::kCUDA, static_cast<c10::DeviceIndex>(comm.local_rank() % gpus)};
}

}  // namespace microdit::eval

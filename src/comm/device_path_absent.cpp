// The CUDA seam in a build without CUDA.
#ifndef MICRODIT_WITH_CUDA
#include "comm/device_path.h"
#include "core/error.h"

namespace microdit::comm {

std::unique_ptr<DevicePath> make_device_path(Communicator&, bool, Watchdog&) {
  return nullptr;
}

VisibleGpus visible_gpus() {
  return {0, "this build has no CUDA: configure with -DMICRODIT_CUDA=ON on a machine with nvcc"};
}

std::string take_gpu(int) {
  core::check(false, "a GPU in a build without CUDA");
  return {};
}

void copy_on_device(const Buffer&, const Buffer&) {
  core::check(false, "a CUDA buffer in a build without CUDA");
}

}  // namespace microdit::comm
#endif

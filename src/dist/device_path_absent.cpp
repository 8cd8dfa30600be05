// The CUDA seam in a build without CUDA.
#ifndef MICRODIT_WITH_CUDA
#include "core/error.h"
#include "dist/device_path.h"

namespace microdit::dist {

std::unique_ptr<DevicePath> make_device_path(Communicator&, int, Watchdog&) {
  return nullptr;
}

void copy_on_device(const FloatBuffer&, const FloatBuffer&) {
  core::check(false, "a CUDA buffer in a build without CUDA");
}

}  // namespace microdit::dist
#endif

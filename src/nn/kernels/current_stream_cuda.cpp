// torch's current stream, in builds with CUDA.
#include <c10/cuda/CUDAStream.h>

#include "nn/kernels/current_stream.h"

namespace microdit::nn {

void* current_stream(const c10::Device& device) {
  return device.is_cuda() ? c10::cuda::getCurrentCUDAStream(device.index()).stream() : nullptr;
}

}  // namespace microdit::nn

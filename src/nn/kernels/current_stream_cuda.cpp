// torch's current stream and the card's name, in builds with CUDA.
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAStream.h>

#include "nn/kernels/current_stream.h"
#include "nn/kernels/proof.h"

namespace microdit::nn {

void* current_stream(const c10::Device& device) {
  return device.is_cuda() ? c10::cuda::getCurrentCUDAStream(device.index()).stream() : nullptr;
}

std::string card_name(const c10::Device& device) {
  return device.is_cuda() ? at::cuda::getDeviceProperties(device.index())->name : "";
}

}  // namespace microdit::nn

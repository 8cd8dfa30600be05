// The CUDA stream that torch's operations run on: kernels of our own and collectives go there too.
#pragma once

#include <c10/core/Device.h>

namespace microdit::nn {

/// A cudaStream_t; null for the CPU.
void* current_stream(const c10::Device& device);

}  // namespace microdit::nn

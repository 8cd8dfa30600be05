// A build without CUDA has no streams.
#ifndef MICRODIT_WITH_CUDA
#include "nn/kernels/current_stream.h"

namespace microdit::nn {

void* current_stream(const c10::Device&) {
  return nullptr;
}

}  // namespace microdit::nn
#endif

// The device side of CUDA for .cu files that g++ compiles: a kernel is a function whose threads are fibres
// (simt.h). Portable kernels are launched by cudaLaunchKernelEx, lie in an unnamed namespace, and have
// neither inline PTX nor dynamic shared memory.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <source_location>

#include "cuda_runtime_api.h"
#include "simt.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("microdit_shared_memory")))

struct alignas(16) float4 {
  float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}

namespace microdit::fakes {
cudaError_t enqueue_kernel(const cudaLaunchConfig_t& config, std::function<void()> thread);
}

template <class... Expected, class... Given>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...),
                               Given&&... given) {
  const auto thread = [kernel](Expected... arguments) {
    return std::function<void()>([kernel, arguments...] { kernel(arguments...); });
  };
  return microdit::fakes::enqueue_kernel(*config, thread(std::forward<Given>(given)...));
}

using Here = std::source_location;

inline void __syncthreads(Here here = Here::current()) {
  microdit::fakes::wait_for_block(here);
}
inline void __syncwarp(unsigned mask = ~0U, Here here = Here::current()) {
  microdit::fakes::wait_for_warp(mask, nullptr, 0, here);
}

/// What lane `from` holds.
template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, Here here = Here::current()) {
  const int first = microdit::fakes::lane() / width * width;
  return microdit::fakes::of_lane(mask, value, first + from % width, here);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, Here here = Here::current()) {
  const int from = microdit::fakes::lane() ^ bits;
  return microdit::fakes::of_lane(mask, value, from / width <= microdit::fakes::lane() / width ? from : -1,
                                  here);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, Here here = Here::current()) {
  const int from = microdit::fakes::lane() + static_cast<int>(by);
  return microdit::fakes::of_lane(mask, value, from / width == microdit::fakes::lane() / width ? from : -1,
                                  here);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, Here here = Here::current()) {
  const auto& values = microdit::fakes::wait_for_warp(mask, &predicate, sizeof(predicate), here);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    int vote = 0;
    std::memcpy(&vote, values[lane].data(), sizeof(vote));
    if ((mask >> lane & 1U) != 0 && vote != 0) votes |= 1U << lane;
  }
  return votes;
}

// All fibres run on one thread.
template <class T>
T atomicAdd(T* sum, T value) {
  const T before = *sum;
  *sum = before + value;
  return before;
}

inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float rsqrtf(float x) {
  return 1.0F / std::sqrt(x);
}

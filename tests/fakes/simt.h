// Kernels on the CPU: blocks run one after another; the threads of a block are fibres that switch at barriers
// and warp exchanges, so both mean what they mean on a GPU.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <functional>
#include <source_location>
#include <string>

#include "cuda_runtime_api.h"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace microdit::fakes {

/// A kernel must not depend on the order of its blocks and threads.
enum class Order { kForward, kReverse, kRandom };

struct KernelOutcome {
  cudaError_t error = cudaSuccess;
  std::string what{};
  const void* address = nullptr;  ///< the bad one
};
/// Runs every thread of the grid. Fails where a GPU would hang or give nonsense: a barrier that some threads
/// of the block never reach, an exchange with lanes that are not there, a bad address.
KernelOutcome run_grid(dim3 grid, dim3 block, const std::function<void()>& thread, Order order);

using Value = std::array<unsigned char, 16>;

/// The thread that runs, within its warp.
int lane();
void wait_for_block(const std::source_location& here);
/// Waits for all lanes of `mask`; gives `bytes` at `value` to them. Returns what every lane of the warp gave.
const std::array<Value, 32>& wait_for_warp(unsigned mask, const void* value, std::size_t bytes,
                                           const std::source_location& here);

/// The value of lane `from`; one's own where `from` is -1, and nothing of meaning where `mask` lacks it.
template <class T>
T of_lane(unsigned mask, T value, int from, const std::source_location& here) {
  static_assert(sizeof(T) <= sizeof(Value));
  const std::array<Value, 32>& values = wait_for_warp(mask, &value, sizeof(T), here);
  if (from < 0 || from >= 32) return value;
  std::memcpy(&value, values[static_cast<std::size_t>(from)].data(), sizeof(T));
  return value;
}

}  // namespace microdit::fakes

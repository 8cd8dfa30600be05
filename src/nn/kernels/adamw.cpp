// CPU side of the fused optimizer pass; without CUDA, the door of the other side says so.
#include "nn/kernels/adamw.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "nn/kernels/adamw_arithmetic.h"

namespace microdit::nn {
namespace {

constexpr std::int64_t kGrain = 1 << 15;
constexpr std::int64_t kBlock = 1 << 14;

// Compiled for wider vectors too. Contraction is off, so that the wide and the narrow version round alike,
// and as the GPU does.
#define MICRODIT_RANGE                                        \
  __attribute__((target_clones("avx512f", "avx2", "default"), \
                 optimize("O3", "no-math-errno", "fp-contract=off")))

MICRODIT_RANGE void update_range(float* __restrict weights, const float* __restrict gradients,
                                 float* __restrict exp_avg, float* __restrict exp_avg_sq, std::int64_t count,
                                 AdamWConstants c) {
  for (std::int64_t i = 0; i < count; ++i)
    weights[i] = adamw_element(c, weights[i], gradients[i], exp_avg[i], exp_avg_sq[i]);
}

MICRODIT_RANGE void average_range(float* __restrict ema, const float* __restrict weights, std::int64_t count,
                                  AdamWConstants c) {
  for (std::int64_t i = 0; i < count; ++i) ema[i] = average_element(c, ema[i], weights[i]);
}

double block_sum(const float* values, std::int64_t count) {
  double lanes[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int lane = 0; lane < 8; ++lane)
      lanes[lane] += static_cast<double>(values[i + lane]) * values[i + lane];
  }
  double sum = 0;
  for (double lane : lanes) sum += lane;
  for (; i < count; ++i) sum += static_cast<double>(values[i]) * values[i];
  return sum;
}

}  // namespace

void adamw_cpu(const AdamWBuffers& b, const AdamWStep& step) {
  const AdamWConstants c = fold(step);
  at::parallel_for(0, b.count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    // Small blocks, so that the average reads the new weights from cache.
    for (std::int64_t at = begin; at < end; at += kBlock) {
      const std::int64_t n = std::min(kBlock, end - at);
      update_range(b.weights + at, b.gradients + at, b.exp_avg + at, b.exp_avg_sq + at, n, c);
      if (b.ema != nullptr) average_range(b.ema + at, b.weights + at, n, c);
    }
  });
}

double sum_of_squares_cpu(const float* values, std::int64_t count) {
  const std::int64_t blocks = (count + kBlock - 1) / kBlock;
  std::vector<double> sums(static_cast<std::size_t>(blocks));
  at::parallel_for(0, blocks, 2, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      sums[static_cast<std::size_t>(b)] =
          block_sum(values + b * kBlock, std::min(kBlock, count - b * kBlock));
    }
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

#ifdef MICRODIT_WITH_CUDA
void adamw_cuda(const AdamWBuffers& buffers, const AdamWStep& step, void* stream) {
  if (buffers.count == 0) return;
  if (const char* error = enqueue_adamw(buffers, fold(step), stream))
    core::fault_error("adamw kernel: {}", error);
}
#else
void adamw_cuda(const AdamWBuffers&, const AdamWStep&, void*) {
  core::user_error(
      "device=cuda: this build has no CUDA; configure with -DMICRODIT_CUDA=ON on a machine with nvcc");
}
#endif

}  // namespace microdit::nn

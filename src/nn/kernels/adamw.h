// One pass over memory: gradient scaling, AdamW and the weight average. fp32, element-wise, so any split of
// the buffer gives the same bits.
#pragma once

#include <cstdint>

namespace microdit::nn {

/// AdamW with decoupled weight decay (Loshchilov & Hutter 2019; torch.optim.AdamW's order of operations).
struct AdamWStep {
  double lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  std::int64_t step = 1;      ///< 1-based, for bias correction
  double gradient_scale = 1;  ///< clip factor
  double ema_decay = 0;       ///< ema = decay * ema + (1 - decay) * weight
};

/// `count` values; `ema` may be null. Pointers may alias only if equal.
struct AdamWBuffers {
  float* weights = nullptr;
  const float* gradients = nullptr;
  float* exp_avg = nullptr;
  float* exp_avg_sq = nullptr;
  float* ema = nullptr;
  std::int64_t count = 0;
};

/// On the CPU, with the calling thread's share of at::get_num_threads().
void adamw_cpu(const AdamWBuffers& buffers, const AdamWStep& step);

/// On the current CUDA device, on `stream` (a cudaStream_t). Only in builds with CUDA.
void adamw_cuda(const AdamWBuffers& buffers, const AdamWStep& step, void* stream);

/// Sum of squares in double, in fixed blocks summed in order: bits do not depend on the thread count.
double sum_of_squares_cpu(const float* values, std::int64_t count);

}  // namespace microdit::nn

// The element-wise rule of adamw.h, shared by the CPU and the CUDA kernel so that both are one piece of arithmetic.
#pragma once

#include <cmath>

#include "nn/kernels/adamw.h"

// One rule, compiled into the loops that call it, with their instruction set.
#ifdef __CUDACC__
#define MICRODIT_ELEMENT __host__ __device__ inline
#else
#define MICRODIT_ELEMENT __attribute__((always_inline)) inline
#endif

namespace microdit::nn {

/// Per-step constants in fp32, folded once on the host.
struct AdamWConstants {
  float decay, beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, inv_sqrt_correction2, eps,
      gradient_scale;
  float ema_decay, one_minus_ema_decay;
};

inline AdamWConstants fold(const AdamWStep& s) {
  const double correction1 = 1 - std::pow(s.beta1, static_cast<double>(s.step));
  const double correction2 = 1 - std::pow(s.beta2, static_cast<double>(s.step));
  return {static_cast<float>(1 - s.lr * s.weight_decay),
          static_cast<float>(s.beta1),
          static_cast<float>(1 - s.beta1),
          static_cast<float>(s.beta2),
          static_cast<float>(1 - s.beta2),
          static_cast<float>(s.lr / correction1),
          static_cast<float>(1 / std::sqrt(correction2)),
          static_cast<float>(s.eps),
          static_cast<float>(s.gradient_scale),
          static_cast<float>(s.ema_decay),
          static_cast<float>(1 - s.ema_decay)};
}

/// theta <- theta (1 - lr wd) - lr/(1-b1^t) m / (sqrt(v) / sqrt(1-b2^t) + eps)
MICRODIT_ELEMENT float adamw_element(const AdamWConstants& c, float weight, float gradient, float& exp_avg,
                                     float& exp_avg_sq) {
  const float g = gradient * c.gradient_scale;
  exp_avg = c.beta1 * exp_avg + c.one_minus_beta1 * g;
  exp_avg_sq = c.beta2 * exp_avg_sq + c.one_minus_beta2 * g * g;
  return weight * c.decay - c.step_size * exp_avg / (sqrtf(exp_avg_sq) * c.inv_sqrt_correction2 + c.eps);
}

MICRODIT_ELEMENT float average_element(const AdamWConstants& c, float ema, float weight) {
  return c.ema_decay * ema + c.one_minus_ema_decay * weight;
}

/// adamw.cu's side of adamw_cuda(). Null, or what CUDA says against the launch.
const char* enqueue_adamw(const AdamWBuffers& buffers, const AdamWConstants& constants, void* stream);

}  // namespace microdit::nn

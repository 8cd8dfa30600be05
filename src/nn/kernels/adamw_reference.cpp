// AdamW and the weight average, an operation at a time.
#include "nn/kernels/adamw_reference.h"

#include <torch/utils.h>

#include "nn/kernels/adamw_arithmetic.h"

namespace microdit::nn {

void adamw_reference(const AdamWTensors& t, const AdamWStep& step) {
  const torch::NoGradGuard no_grad;
  const AdamWConstants c = fold(step);
  const torch::Tensor g = t.gradients * c.gradient_scale;
  // No alpha and no addcmul: those may fuse a multiplication with an addition.
  t.exp_avg.mul_(c.beta1).add_(g * c.one_minus_beta1);
  t.exp_avg_sq.mul_(c.beta2).add_(g * c.one_minus_beta2 * g);
  const torch::Tensor denominator = t.exp_avg_sq.sqrt() * c.inv_sqrt_correction2 + c.eps;
  t.weights.mul_(c.decay).sub_(t.exp_avg * c.step_size / denominator);
  if (t.ema.defined()) t.ema.mul_(c.ema_decay).add_(t.weights * c.one_minus_ema_decay);
}

}  // namespace microdit::nn

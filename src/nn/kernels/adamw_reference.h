// The fused optimizer pass in torch's own operations: what a kernel that has not proved itself on a card is replaced by.
#pragma once

#include <torch/types.h>

#include "nn/kernels/adamw.h"

namespace microdit::nn {

/// fp32 tensors of one length, changed in place; `ema` may be undefined. The same arithmetic in the same order as
/// adamw_cpu, on any device; torch's square root on a CPU may round otherwise.
struct AdamWTensors {
  torch::Tensor weights, gradients, exp_avg, exp_avg_sq, ema;
};
void adamw_reference(const AdamWTensors& tensors, const AdamWStep& step);

}  // namespace microdit::nn

// What the machine could do: the speed of light that a training's rate is compared with.
#pragma once

#include <c10/core/Device.h>

#include "nn/flop_counter.h"

namespace microdit::nn {

/// FLOP/s of the fastest matrix product among a network's own shapes (those that most of its work is in), in fp32 or bf16, with this
/// process's threads. Takes about a fifth of a second; 0 where nothing was multiplied.
double measure_peak(const FlopCounter& counted, c10::Device device, bool bf16);

}  // namespace microdit::nn

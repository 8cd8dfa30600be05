// What a network predicts, as numbers: x0 = a x_t + b F, and F's target is p x0 + q n.
#pragma once

#include <string>

#include "diffusion/path.h"

namespace microdit::diffusion {

/// Float64, of the levels' shape. p = (1 - a alpha) / b, q = -a sigma / b and c = b / sigma, written so that nothing cancels and
/// nothing is 0 / 0 where alpha or sigma is 0.
struct Prediction {
  torch::Tensor a, b, p, q, c;
};

/// `kind`: eps | v | x0 | velocity | edm (Karras et al. 2022, table 1; `sigma_data` is its).
Prediction prediction_at(const std::string& kind, const Levels& levels, double sigma_data);

}  // namespace microdit::diffusion

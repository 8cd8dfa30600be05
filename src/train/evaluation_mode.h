// Painting and measuring in the middle of a training.
#pragma once

#include <torch/nn/module.h>

namespace microdit::train {

/// The module is told that this is no training while it lives, whatever ends it.
class EvaluationMode {
 public:
  explicit EvaluationMode(torch::nn::Module& module) : module_(module) { module_.eval(); }
  ~EvaluationMode() { module_.train(); }

 private:
  torch::nn::Module& module_;
};

}  // namespace microdit::train

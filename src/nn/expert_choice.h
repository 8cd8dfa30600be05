// Mixture of experts where each expert chooses its tokens (Zhou et al. 2022).
#pragma once

#include <memory>

#include "nn/feed_forward.h"

namespace microdit::nn {

struct ExpertSizes {
  std::int64_t num_experts = 0;
  double capacity = 0;      ///< mean number of experts per token
  std::int64_t hidden = 0;  ///< width inside an expert
};

/// Every expert takes, per sample, the int(capacity * T / experts) tokens with its highest probability and
/// adds probability * w2(gelu(w1 x)) to them.
class ExpertChoice : public TokenMlp {
 public:
  ExpertChoice(std::int64_t dim, const ExpertSizes& sizes);
  torch::Tensor forward(const torch::Tensor& x_BTD) const override;

 private:
  torch::Tensor w1_, w2_;  // [E, D, F], [E, F, D]
  std::shared_ptr<Linear> gate_;
  double capacity_;
};

}  // namespace microdit::nn

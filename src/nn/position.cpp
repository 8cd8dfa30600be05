// Position embeddings in double, rounded once.
#include "nn/position.h"

#include <cmath>

namespace microdit::nn {

torch::Tensor position_embedding(std::int64_t side, std::int64_t dim, double interpolation_scale) {
  const std::int64_t quarter = dim / 4;
  torch::Tensor table = torch::empty({1, side * side, dim});
  float* out = table.mutable_data_ptr<float>();
  for (std::int64_t patch = 0; patch < side * side; ++patch) {
    for (const std::int64_t index : {patch % side, patch / side}) {
      // The original's grid is fp32.
      const double position = static_cast<float>(index) / static_cast<float>(interpolation_scale);
      for (std::int64_t i = 0; i < quarter; ++i) {
        const double angle =
            position / std::pow(10000.0, static_cast<double>(i) / static_cast<double>(quarter));
        out[i] = static_cast<float>(std::sin(angle));
        out[quarter + i] = static_cast<float>(std::cos(angle));
      }
      out += 2 * quarter;
    }
  }
  return table;
}

}  // namespace microdit::nn

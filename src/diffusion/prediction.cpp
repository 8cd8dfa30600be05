// The table of predictions.
#include "diffusion/prediction.h"

#include "core/error.h"

namespace microdit::diffusion {

Prediction prediction_at(const std::string& kind, const Levels& levels, double sigma_data) {
  const torch::Tensor &alpha = levels.alpha_B, &sigma = levels.sigma_B;
  const torch::Tensor zero = torch::zeros_like(alpha), one = torch::ones_like(alpha);
  if (kind == "eps") return {1 / alpha, -sigma / alpha, zero, one, -1 / alpha};
  if (kind == "v") return {alpha, -sigma, -sigma, alpha, -one};
  if (kind == "x0") return {zero, one, one, zero, 1 / sigma};
  if (kind == "velocity") return {one, -sigma, -one, one, -one};
  core::check(kind == "edm", "prediction {}", kind);
  const double data2 = sigma_data * sigma_data;
  const torch::Tensor total2 = sigma.square() + data2, total = total2.sqrt();
  return {data2 / total2, sigma * sigma_data / total, sigma / (sigma_data * total), -sigma_data / total,
          sigma_data / total};
}

}  // namespace microdit::diffusion

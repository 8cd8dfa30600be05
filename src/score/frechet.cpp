// Roots by eigenvalues: S1^.5 S2 S1^.5 is symmetric and has those of S1 S2.
#include "score/frechet.h"

#include <torch/utils.h>

#include "core/error.h"

namespace microdit::score {

double frechet_distance(const Gaussian& a, const Gaussian& b) {
  const torch::NoGradGuard no_grad;
  if (a.mu_D.size(0) != b.mu_D.size(0))
    core::user_error("statistics of {} features against statistics of {}: made by different networks",
                     a.mu_D.size(0), b.mu_D.size(0));
  const auto [values, vectors] = at::linalg_eigh(a.sigma_DD);
  const torch::Tensor root = (vectors * values.clamp_min(0).sqrt()).matmul(vectors.t());
  const torch::Tensor between = root.matmul(b.sigma_DD).matmul(root);
  const torch::Tensor squares = at::linalg_eigvalsh((between + between.t()) / 2).clamp_min(0);
  const double means = (a.mu_D - b.mu_D).square().sum().item<double>();
  return means + a.sigma_DD.trace().item<double>() + b.sigma_DD.trace().item<double>() -
         2 * squares.sqrt().sum().item<double>();
}

}  // namespace microdit::score

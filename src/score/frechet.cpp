// Roots by eigenvalues: covariances are symmetric.
#include "score/frechet.h"

#include <torch/utils.h>

#include <limits>

#include "core/error.h"

namespace microdit::score {
namespace {

/// F [D, R] with F F^T = sigma: of its R eigenvalues that are more than rounding.
torch::Tensor factor(const torch::Tensor& sigma_DD) {
  const auto [values, vectors] = at::linalg_eigh(sigma_DD);
  const double least = values.abs().max().item<double>() * static_cast<double>(values.size(0)) *
                       std::numeric_limits<double>::epsilon();
  const torch::Tensor kept = (values > least).nonzero().squeeze(1);
  return vectors.index_select(1, kept) * values.index_select(0, kept).sqrt();
}

}  // namespace

double frechet_distance(const Gaussian& a, const Gaussian& b) {
  const torch::NoGradGuard no_grad;
  if (a.mu_D.size(0) != b.mu_D.size(0))
    core::user_error("statistics of {} features against statistics of {}: made by different networks",
                     a.mu_D.size(0), b.mu_D.size(0));
  const torch::Tensor between = factor(a.sigma_DD).t().matmul(factor(b.sigma_DD));
  const double root = between.numel() == 0 ? 0 : at::linalg_svdvals(between).sum().item<double>();
  const double means = (a.mu_D - b.mu_D).square().sum().item<double>();
  return means + a.sigma_DD.trace().item<double>() + b.sigma_DD.trace().item<double>() - 2 * root;
}

}  // namespace microdit::score

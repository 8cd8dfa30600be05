// Sums, and their files.
#include "score/moments.h"

#include <torch/utils.h>

#include "core/error.h"
#include "score/arrays.h"
#include "score/limits.h"

namespace microdit::score {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSum = "sum";
constexpr const char* kOuter = "outer";
constexpr const char* kAbout = "microdit";

/// A vector and a matrix of one width.
std::pair<torch::Tensor, torch::Tensor> read_pair(const NpzFile& file, const fs::path& path,
                                                  const char* vector, const char* matrix) {
  const Array first = file.array(vector), second = file.array(matrix);
  const std::int64_t dims = first.shape.size() == 1 ? first.shape[0] : 0;
  if (dims < 1 || dims > Limits::dims || second.shape != std::vector<std::int64_t>{dims, dims})
    core::user_error("{}: {} must be [D] and {} [D, D], D from 1 to {}", path.string(), vector, matrix,
                     Limits::dims);
  return {to_tensor(first), to_tensor(second)};
}

void check_finite(const torch::Tensor& tensor, const std::string& what) {
  if (!tensor.isfinite().all().item<bool>())
    core::user_error("{}: there are values that are not finite", what);
}

}  // namespace

Moments::Moments(std::int64_t dims, torch::Device device)
    : sum_D(torch::zeros({dims}, torch::dtype(torch::kDouble).device(device))),
      outer_DD(torch::zeros({dims, dims}, torch::dtype(torch::kDouble).device(device))) {}

void Moments::add(const torch::Tensor& features_ND) {
  const torch::Tensor rows = features_ND.to(torch::kDouble);
  n += rows.size(0);
  sum_D += rows.sum(0);
  outer_DD.addmm_(rows.t(), rows);
}

void Moments::merge(const Moments& other) {
  core::check(dims() == other.dims(), "sums of {} and of {} features", dims(), other.dims());
  n += other.n;
  sum_D += other.sum_D;
  outer_DD += other.outer_DD;
}

Gaussian Moments::gaussian() const {
  if (n < 2) core::user_error("{} picture{}: a covariance needs two at least", n, n == 1 ? "" : "s");
  const double count = static_cast<double>(n);
  const torch::Tensor sum = sum_D.cpu(), outer = outer_DD.cpu(), mean = sum / count;
  check_finite(outer, "features");
  torch::Tensor sigma = (outer - at::outer(sum, mean)) / (count - 1);
  sigma = (sigma + sigma.t()) / 2;
  return {n, mean, sigma};
}

void write_moments(const fs::path& path, const Moments& moments, const std::string& about) {
  NpzContents contents;
  contents.add("n", moments.n);
  contents.add(kSum, to_array(moments.sum_D));
  contents.add(kOuter, to_array(moments.outer_DD));
  contents.add(kAbout, about);
  contents.write(path);
}

Moments read_moments(const fs::path& path, const std::string& about) {
  const NpzFile file(path);
  if (file.text(kAbout) != about)
    core::user_error("{}: a part of other statistics: remove it", path.string());
  auto [sum, outer] = read_pair(file, path, kSum, kOuter);
  Moments moments(sum.size(0));
  moments.n = file.integer("n");
  if (moments.n < 1) core::user_error("{}: n is {}: remove it", path.string(), moments.n);
  moments.sum_D = std::move(sum);
  moments.outer_DD = std::move(outer);
  return moments;
}

Statistics read_statistics(const fs::path& path) {
  const NpzFile file(path);
  if (!file.has("mu") || !file.has("sigma"))
    core::user_error("{}: holds no statistics: the arrays mu and sigma are wanted, as pytorch-fid saves them",
                     path.string());
  Statistics found;
  std::tie(found.gaussian.mu_D, found.gaussian.sigma_DD) = read_pair(file, path, "mu", "sigma");
  const torch::Tensor& sigma = found.gaussian.sigma_DD;
  check_finite(found.gaussian.mu_D, path.string());
  check_finite(sigma, path.string());
  const double largest = sigma.abs().max().item<double>();
  if ((sigma - sigma.t()).abs().max().item<double>() > 1e-6 * largest)
    core::user_error("{}: sigma is not symmetric: no covariance", path.string());
  if (file.has("n")) found.gaussian.n = file.integer("n");
  if (file.has(kAbout)) found.about = file.text(kAbout);
  return found;
}

void write_statistics(const fs::path& path, const Statistics& statistics) {
  NpzContents contents;
  contents.add("mu", to_array(statistics.gaussian.mu_D));
  contents.add("sigma", to_array(statistics.gaussian.sigma_DD));
  contents.add("n", statistics.gaussian.n);
  contents.add(kAbout, statistics.about);
  contents.write(path);
}

}  // namespace microdit::score

// What Fréchet distances need of features: how many, their sum, the sum of their outer products, all in fp64.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace microdit::score {

/// A Gaussian: what FID compares.
struct Gaussian {
  std::int64_t n = 0;            ///< pictures; 0 = not known
  torch::Tensor mu_D, sigma_DD;  ///< fp64, CPU
};

/// Sums over pictures; those of parts, added in one order, are the same bits whoever made the parts.
struct Moments {
  std::int64_t n = 0;
  torch::Tensor sum_D, outer_DD;  ///< fp64

  explicit Moments(std::int64_t dims, torch::Device device = torch::kCPU);
  std::int64_t dims() const { return sum_D.size(0); }
  /// Features [N, D] of any floating type, on the device of the sums.
  void add(const torch::Tensor& features_ND);
  void merge(const Moments& other);
  /// Mean, and covariance over n - 1 (numpy's cov). UserError when n is less than 2, or a value is not finite.
  Gaussian gaussian() const;
};

/// Sums as an .npz of our own: n, sum, outer, and `about`, which says what they are of.
void write_moments(const std::filesystem::path& path, const Moments& moments, const std::string& about);
/// UserError when the file is damaged or says that it is `about` something else.
Moments read_moments(const std::filesystem::path& path, const std::string& about);

/// What the Python tools read and write: mu [D], sigma [D, D] as float64; ours also have n and `about` (JSON text). UserError
/// when keys or shapes are others, values not finite, or sigma not symmetric.
struct Statistics {
  Gaussian gaussian;
  std::string about;  ///< empty in files of others
};
Statistics read_statistics(const std::filesystem::path& path);
void write_statistics(const std::filesystem::path& path, const Statistics& statistics);

}  // namespace microdit::score

// How much a network multiplies: the matrix products, convolutions and attentions that it runs.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>

namespace microdit::nn {

/// rows [m, k] times [k, n].
struct Product {
  std::int64_t m = 0, n = 0, k = 0;
  auto operator<=>(const Product&) const = default;
};

/// Counts while it lives, on this thread, whatever the device: 2 FLOPs for a multiplication and its addition. One at a time on a thread.
class FlopCounter {
 public:
  FlopCounter();
  ~FlopCounter();
  FlopCounter(const FlopCounter&) = delete;
  FlopCounter& operator=(const FlopCounter&) = delete;

  /// What comes now does not count.
  void stop();
  double flops() const { return flops_; }
  /// FLOPs by shape, of matrix products alone.
  const std::map<Product, double>& products() const { return products_; }

  void add_product(std::int64_t times, const Product& product);
  void add(double flops) { flops_ += flops; }
  /// The one of this thread, or null.
  static FlopCounter* active();

 private:
  double flops_ = 0;
  std::map<Product, double> products_;
  std::uint64_t handle_ = 0;
};

/// A step's FLOPs by those of its forward pass: the backward pass has two products for each of it (what recomputing adds is no work of the
/// training, and is not counted).
inline constexpr double kTrainingOfForward = 3;

}  // namespace microdit::nn

// How much a network multiplies: the matrix products, convolutions and attentions that it runs.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>

namespace microdit::nn {

/// rows [m, k] times [k, n].
struct Product {
  std::int64_t m = 0, n = 0, k = 0;
  auto operator<=>(const Product&) const = default;
};

/// Counts the forward pass while it lives, on this thread, whatever the device: 2 FLOPs for a multiplication and its addition. One at a time
/// on a thread.
class FlopCounter {
 public:
  FlopCounter();
  ~FlopCounter();
  FlopCounter(const FlopCounter&) = delete;
  FlopCounter& operator=(const FlopCounter&) = delete;

  /// What comes now does not count.
  void stop();
  double forward() const { return forward_; }
  /// With the backward pass: a product more for each factor that needs a gradient; both do without a graph. What recomputing adds is no
  /// work of the training.
  double training() const { return training_; }
  /// FLOPs by shape, of matrix products alone.
  const std::map<Product, double>& products() const { return products_; }

  /// `times` products of factors like `a` and `b`.
  void add_product(std::int64_t times, const Product& product, const torch::Tensor& a,
                   const torch::Tensor& b);
  void add(double flops, const torch::Tensor& a, const torch::Tensor& b);
  /// The one of this thread, or null.
  static FlopCounter* active();

 private:
  double forward_ = 0, training_ = 0;
  std::map<Product, double> products_;
  std::uint64_t handle_ = 0;
};

/// A step of our own, which says itself what it multiplies: torch's operators inside do not count while it lives.
class OwnProducts {
 public:
  OwnProducts();
  ~OwnProducts();
  OwnProducts(const OwnProducts&) = delete;
  OwnProducts& operator=(const OwnProducts&) = delete;
  /// The counter, or null: nobody counts.
  FlopCounter* counter() const { return counter_; }

 private:
  FlopCounter* counter_;
};

}  // namespace microdit::nn

// Times a few products.
#include "nn/peak.h"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/progress.h"
#include "nn/kernels/matmul.h"

namespace microdit::nn {
namespace {

constexpr std::size_t kShapes = 6;
constexpr double kShapeSeconds = 0.03;

/// The shapes with the most work, and their transposed sisters of the backward pass.
std::vector<Product> most_used(const FlopCounter& counted) {
  std::vector<std::pair<double, Product>> all;
  for (const auto& [product, flops] : counted.products()) all.emplace_back(flops, product);
  std::ranges::sort(all, std::greater<>(), [](const auto& one) { return one.first; });
  std::vector<Product> shapes;
  for (std::size_t i = 0; i < std::min(kShapes, all.size()); ++i) shapes.push_back(all[i].second);
  return shapes;
}

void wait_for(c10::Device device, const torch::Tensor& result) {
  if (device.is_cuda()) result.flatten()[0].item<float>();
}

double rate_of(const Product& p, c10::Device device, torch::ScalarType type) {
  const auto options = torch::TensorOptions().device(device);
  const torch::Tensor a = torch::randn({p.m, p.k}, options).to(type),
                      b = torch::randn({p.k, p.n}, options).to(type);
  const auto multiply = [&] { return device.is_cpu() ? kernels::matrix_product(a, b) : at::mm(a, b); };
  wait_for(device, multiply());
  const double flops = 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
  double best = 0, spent = 0;
  for (int turn = 1; spent < kShapeSeconds; turn *= 2) {  // more at once while a turn is too short to time
    const auto begin = std::chrono::steady_clock::now();
    torch::Tensor last;
    for (int i = 0; i < turn; ++i) last = multiply();
    wait_for(device, last);
    const double seconds = core::seconds_since(begin);
    best = std::max(best, flops * turn / std::max(1e-9, seconds));
    spent += seconds;
  }
  return best;
}

}  // namespace

double measure_peak(const FlopCounter& counted, c10::Device device, bool bf16) {
  const torch::NoGradGuard no_grad;
  double best = 0;
  for (const Product& shape : most_used(counted))
    best = std::max(best, rate_of(shape, device, bf16 ? torch::kBFloat16 : torch::kFloat));
  return best;
}

}  // namespace microdit::nn

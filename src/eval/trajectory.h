// What a sampling looked like on its way.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace microdit::eval {

/// States at even distances along the sampling, each scaled to the root mean square of the last: paths differ in how large noise is.
class Trajectory {
 public:
  Trajectory(std::int64_t wanted, std::int64_t steps, const torch::Tensor& unit)
      : wanted_(wanted), steps_(steps) {
    if (wanted_ > 0) kept_.push_back(unit.to(torch::kFloat32));
  }
  void after(std::int64_t step, const torch::Tensor& x) {
    const auto due = static_cast<std::int64_t>(kept_.size());
    if (due < wanted_ - 1 && (step + 1) * (wanted_ - 1) >= due * steps_)
      kept_.push_back(x.to(torch::kCPU, torch::kFloat32));
  }
  /// [B, K, C, H, W], the sample last; undefined where none were wanted.
  torch::Tensor with(const torch::Tensor& sample) const {
    if (wanted_ == 0) return {};
    const torch::Tensor size = rms(sample);
    std::vector<torch::Tensor> shown;
    for (const torch::Tensor& x : kept_) shown.push_back(x * (size / rms(x).clamp_min(1e-12)));
    while (std::ssize(shown) < wanted_) shown.push_back(sample);  // fewer steps than states
    return torch::stack(shown, 1);
  }

 private:
  static torch::Tensor rms(const torch::Tensor& x) { return x.square().mean({1, 2, 3}, true).sqrt(); }
  std::int64_t wanted_, steps_;
  std::vector<torch::Tensor> kept_;
};

}  // namespace microdit::eval

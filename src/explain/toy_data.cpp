// Points by counter: each is a function of (seed, its place).
#include "explain/toy_data.h"

#include <torch/utils.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "core/error.h"
#include "core/seed.h"

namespace microdit::explain {
namespace {

constexpr std::uint64_t kRoll = 1, kArmsStream = 2;  // told apart in the counter's key

torch::Tensor rows(const std::vector<float>& values) {
  return torch::tensor(values).view({-1, 2, 1, 1});
}

}  // namespace

ToyData swiss_roll(std::int64_t count, std::uint64_t seed) {
  constexpr double kSize = 7.4;  // brings the deviation to about 1
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    core::CounterRng rng(seed, core::Purpose::init, static_cast<std::uint64_t>(i), kRoll);
    // Even along the roll's length, which grows with the square of the angle.
    const double low = 1.5 * std::numbers::pi, high = 4.5 * std::numbers::pi;
    const double angle = std::sqrt(low * low + rng.uniform() * (high * high - low * low));
    for (const double side : {std::cos(angle), std::sin(angle)})
      values.push_back(static_cast<float>((angle * side + 0.3 * rng.normal()) / kSize));
  }
  return {rows(values)};
}

ToyData three_arms(std::int64_t count, std::uint64_t seed) {
  std::vector<float> values;
  std::vector<std::int64_t> classes;
  for (std::int64_t i = 0; i < count; ++i) {
    core::CounterRng rng(seed, core::Purpose::init, static_cast<std::uint64_t>(i), kArmsStream);
    const std::int64_t arm = i % kArms;
    const double along = 0.15 + 2 * rng.uniform(), across = 0.12 * rng.normal();
    const double turn = 2 * std::numbers::pi * static_cast<double>(arm) / kArms + 0.75 * along;
    values.push_back(static_cast<float>(along * std::cos(turn) - across * std::sin(turn)));
    values.push_back(static_cast<float>(along * std::sin(turn) + across * std::cos(turn)));
    classes.push_back(arm);
  }
  return {rows(values), torch::tensor(classes, torch::kLong)};
}

double sliced_distance(const torch::Tensor& a_N211, const torch::Tensor& b_N211) {
  constexpr std::int64_t kDirections = 64;
  core::check(a_N211.sizes() == b_N211.sizes(), "clouds of {} and {} points", a_N211.size(0), b_N211.size(0));
  const torch::Tensor angle = torch::arange(kDirections, torch::kDouble) * (std::numbers::pi / kDirections);
  const torch::Tensor directions_2K = torch::stack({angle.cos(), angle.sin()});
  const auto shadows = [&](const torch::Tensor& x) {
    return std::get<0>(x.reshape({-1, 2}).to(torch::kDouble).matmul(directions_2K).sort(0));
  };
  return (shadows(a_N211) - shadows(b_N211)).square().mean().sqrt().item<double>();
}

}  // namespace microdit::explain

// Data of two numbers each, which can be looked at as points.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>

namespace microdit::explain {

/// What a toy network learns. Points are fp32 [N, 2, 1, 1], of deviation about 1: latents of two channels and one pixel.
struct ToyData {
  torch::Tensor x_B211;
  torch::Tensor class_B{};  ///< int64; undefined where there are no classes
};

/// A rolled-up line, thickened by a little noise.
ToyData swiss_roll(std::int64_t count, std::uint64_t seed);
/// Three arms that curve outward, a class each.
inline constexpr std::int64_t kArms = 3;
ToyData three_arms(std::int64_t count, std::uint64_t seed);

/// Sliced 2-Wasserstein distance of two clouds of equally many points: the root of the mean, over 64 directions, of the squared
/// distance between the points' sorted shadows. Of two draws from the same data it is small, but not 0.
double sliced_distance(const torch::Tensor& a_N211, const torch::Tensor& b_N211);

}  // namespace microdit::explain

// Vector code for the machine at hand: one source, compiled for several instruction sets, chosen when the program loads.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define MICRODIT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MICRODIT_CLONES
#endif
#define MICRODIT_INLINE inline __attribute__((always_inline))

namespace microdit::nn::kernels {

constexpr std::int64_t kLanes = 16;
using Vec = float __attribute__((vector_size(64)));
using IntVec = std::int32_t __attribute__((vector_size(64)));

// Vectors go by reference: passing them by value would depend on the instruction set.
MICRODIT_INLINE void load(Vec& v, const float* p) {
  std::memcpy(&v, p, sizeof(v));
}
MICRODIT_INLINE void store(float* p, const Vec& v) {
  std::memcpy(p, &v, sizeof(v));
}
/// The first n < 16 floats, the rest zero.
MICRODIT_INLINE void load_part(Vec& v, const float* p, std::int64_t n) {
  v = Vec{};
  std::memcpy(&v, p, static_cast<std::size_t>(n) * sizeof(float));
}
MICRODIT_INLINE void store_part(float* p, const Vec& v, std::int64_t n) {
  std::memcpy(p, &v, static_cast<std::size_t>(n) * sizeof(float));
}
/// A bfloat16 as it lies in memory. Kernels read and write it, and compute in fp32.
struct Bf16 {
  std::uint16_t bits;
};
using ShortVec = std::uint16_t __attribute__((vector_size(32)));
using WordVec = std::uint32_t __attribute__((vector_size(64)));

MICRODIT_INLINE void load(Vec& v, const Bf16* p) {
  ShortVec high;
  std::memcpy(&high, p, sizeof(high));
  const WordVec word = __builtin_convertvector(high, WordVec) << 16;
  std::memcpy(&v, &word, sizeof(v));
}
/// Rounded to nearest, ties to even; NaN stays NaN.
MICRODIT_INLINE void store(Bf16* p, const Vec& v) {
  WordVec word;
  std::memcpy(&word, &v, sizeof(word));
  word += 0x7fffU + ((word >> 16) & 1U);
  word = v == v ? word : WordVec{} + 0x7fc00000U;
  const ShortVec high = __builtin_convertvector(word >> 16, ShortVec);
  std::memcpy(p, &high, sizeof(high));
}
MICRODIT_INLINE void load_part(Vec& v, const Bf16* p, std::int64_t n) {
  Bf16 lane[kLanes] = {};
  std::memcpy(lane, p, static_cast<std::size_t>(n) * sizeof(Bf16));
  load(v, lane);
}
MICRODIT_INLINE void store_part(Bf16* p, const Vec& v, std::int64_t n) {
  Bf16 lane[kLanes];
  store(lane, v);
  std::memcpy(p, lane, static_cast<std::size_t>(n) * sizeof(Bf16));
}
MICRODIT_INLINE float value_of(float x) {
  return x;
}
MICRODIT_INLINE float value_of(Bf16 x) {
  const std::uint32_t word = static_cast<std::uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}

MICRODIT_INLINE float sum_lanes(const Vec& v) {
  float lane[kLanes];
  store(lane, v);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
}

/// exp(x), relative error below 2e-7 on [-87, 88]; x is clamped to that range.
MICRODIT_INLINE void exp_lanes(Vec& y, const Vec& input) {
  constexpr float kHighest = 88.0F;
  constexpr float kLowest = -87.0F;
  Vec x = input < kLowest ? Vec{} + kLowest : input;
  x = x > kHighest ? Vec{} + kHighest : x;
  constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const Vec shifted = x * 1.44269504088896341F + kMagic;
  const Vec n = shifted - kMagic;
  Vec r = x - n * 0.693359375F;
  r = r - n * -2.12194440e-4F;
  Vec p = Vec{} + 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  const IntVec exponent = (__builtin_convertvector(n, IntVec) + 127) << 23;
  Vec power;
  std::memcpy(&power, &exponent, sizeof(power));
  y = p * power;
}

}  // namespace microdit::nn::kernels

// Philox4x32-10 in counter mode, and the draws made from it.
//
// Layout, so that two streams never share a block:
//   key      64 bits = mix(seed, purpose, a / 2^48, b / 2^48)
//   counter  word 0 = block index, words 1-3 = the low 48 bits of a, then of b
// Within one seed and purpose, streams with a, b < 2^48 differ in the counter, which is exact; larger ones,
// other seeds and other purposes differ in the key by a 64-bit mix.
#include "core/seed.h"

#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/upper_vectors.h"

namespace microdit::core {
namespace {

/// SplitMix64's finalizer (Steele et al., 2014): a bijection of 64 bits.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

float unit(std::uint32_t bits) {
  return static_cast<float>(bits >> 8) * 0x1p-24f;
}

/// Box-Muller; the first argument is taken from (0, 1], so that its logarithm is finite.
std::array<float, 2> normal_pair(std::uint32_t first, std::uint32_t second) {
  const double radius = std::sqrt(-2.0 * std::log((first + 1.0) * 0x1p-32));
  const double angle = 2.0 * std::numbers::pi * (second * 0x1p-32);
  return {static_cast<float>(radius * std::cos(angle)), static_cast<float>(radius * std::sin(angle))};
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = 0xd2511f53ull * counter[0];
    const std::uint64_t product1 = 0xcd9e8d57ull * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += 0x9e3779b9u;
    key[1] += 0xbb67ae85u;
  }
  return counter;
}

std::uint64_t derive_seed(std::uint64_t seed, std::uint64_t label) {
  return mix(mix(seed) ^ label);
}

CounterRng::CounterRng(std::uint64_t seed, Purpose purpose, std::uint64_t a, std::uint64_t b) {
  const std::uint64_t high = ((a >> 48) << 16) | (b >> 48);
  const std::uint64_t key = derive_seed(derive_seed(seed, static_cast<std::uint64_t>(purpose)), high);
  key_ = {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
  counter_ = {0, static_cast<std::uint32_t>(a),
              static_cast<std::uint32_t>((a >> 32) & 0xffffu) | static_cast<std::uint32_t>(b << 16),
              static_cast<std::uint32_t>(b >> 16)};
}

void CounterRng::refill() {
  check(!exhausted_, "more than 2^34 numbers drawn from one stream");
  block_ = philox4x32(counter_, key_);
  used_ = 0;
  exhausted_ = ++counter_[0] == 0;
}

std::uint32_t CounterRng::next_u32() {
  if (used_ == 4) refill();
  return block_[static_cast<std::size_t>(used_++)];
}

std::uint64_t CounterRng::next_u64() {
  const std::uint64_t low = next_u32();
  return low | (static_cast<std::uint64_t>(next_u32()) << 32);
}

std::uint64_t CounterRng::below(std::uint64_t n) {
  check(n > 0, "below(0)");
  // Lemire 2019: the high half of a 128-bit product; the few values that would bias it are drawn again.
  auto product = static_cast<unsigned __int128>(next_u64()) * n;
  if (static_cast<std::uint64_t>(product) < n) {
    const std::uint64_t threshold = (0 - n) % n;
    while (static_cast<std::uint64_t>(product) < threshold)
      product = static_cast<unsigned __int128>(next_u64()) * n;
  }
  return static_cast<std::uint64_t>(product >> 64);
}

float CounterRng::uniform() {
  return unit(next_u32());
}

float CounterRng::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const std::uint32_t first = next_u32();
  const auto pair = normal_pair(first, next_u32());
  spare_ = pair[1];
  has_spare_ = true;
  return pair[0];
}

void CounterRng::fill_uniform(std::span<float> out) {
  for (float& value : out) value = uniform();
}

void CounterRng::fill_normal(std::span<float> out) {
  release_upper_vectors();  // the logarithm and the sine are AVX code, this is not; any library may have left them so
  std::size_t i = 0;
  if (has_spare_ && !out.empty()) out[i++] = normal();
  for (; i + 2 <= out.size(); i += 2) {
    const std::uint32_t first = next_u32();
    const auto pair = normal_pair(first, next_u32());
    out[i] = pair[0];
    out[i + 1] = pair[1];
  }
  if (i < out.size()) out[i] = normal();
}

}  // namespace microdit::core

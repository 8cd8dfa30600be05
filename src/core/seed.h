// Counter-keyed randomness: every draw is a function of (seed, purpose, a, b), never of call order or world
// size. Philox4x32-10 (Salmon et al., SC 2011).
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace microdit::core {

/// What a stream of numbers is for; part of its key, so two uses never share numbers.
enum class Purpose : std::uint32_t {
  init = 1,
  order = 2,
  caption_choice = 3,
  caption_drop = 4,
  time = 5,
  noise = 6,
  mask = 7,
  codec_sample = 8,
  sampler = 9,
  churn = 10,
  crop = 11,
  jitter = 12,
  split = 13,
  mixture = 14,
  row_order = 15,  ///< of a shard, when it is written
  run_shift = 16   ///< where an epoch begins to cut its runs of rows
};

class CounterRng {
 public:
  CounterRng(std::uint64_t seed, Purpose purpose, std::uint64_t a = 0, std::uint64_t b = 0);

  std::uint32_t next_u32();
  std::uint64_t next_u64();
  /// Unbiased integer in [0, n), n > 0.
  std::uint64_t below(std::uint64_t n);
  /// [0, 1) with 24 bits.
  float uniform();
  /// Standard normal (Box-Muller in double).
  float normal();
  void fill_uniform(std::span<float> out);
  void fill_normal(std::span<float> out);

 private:
  void refill();
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;
  bool exhausted_ = false;
  bool has_spare_ = false;
  float spare_ = 0;
};

/// The bare block function: ten rounds.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

/// A seed derived from a seed and a label's hash (for sub-systems that need their own).
std::uint64_t derive_seed(std::uint64_t seed, std::uint64_t label);

}  // namespace microdit::core

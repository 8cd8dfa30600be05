// The order of samples as pure functions: a keyed permutation per epoch, and how sources interleave.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace microdit::stream {

/// A bijection of [0, size) keyed by (seed, source, epoch), computed per element: a balanced Feistel network
/// over the next power of four, walked until it lands inside (Black & Rogaway, CT-RSA 2002).
class Permutation {
 public:
  Permutation(std::int64_t size, std::uint64_t seed, std::uint64_t source, std::uint64_t epoch);
  std::int64_t operator()(std::int64_t index) const;

 private:
  static constexpr int kRounds = 8;
  std::uint64_t size_;
  int half_bits_;
  std::array<std::uint64_t, kRounds> keys_;
};

/// One epoch of a source in runs of `run` neighbouring samples: the runs are permuted, the samples within one are not, so that a
/// run is one read. Where an epoch begins to cut is drawn per epoch; what is left over (size mod run) comes last. A bijection of
/// [0, size), computed per element; run = 1 is the permutation alone.
class EpochOrder {
 public:
  EpochOrder(std::int64_t size, std::int64_t run, std::uint64_t seed, std::uint64_t source,
             std::uint64_t epoch);
  std::int64_t operator()(std::int64_t index) const;

 private:
  std::int64_t size_, run_, in_runs_, shift_;
  Permutation runs_;
};

/// Which source a position shows, and how many earlier positions showed that source.
struct Turn {
  std::size_t source = 0;
  std::int64_t index = 0;
};

/// Whether proportions mean "by size": all zero. UserError (naming data[i]): zero in some only, or not a
/// share.
bool by_size(const std::vector<double>& proportions);

/// Interleaves sources by proportion: one fixed pattern, repeated, in which every prefix is as close to the
/// proportions as a greedy choice allows (each source is off by less than its number of rivals).
class Mixture {
 public:
  /// Proportions are relative, positive. A source's share is exact to one part in 65,536, and never zero.
  explicit Mixture(const std::vector<double>& proportions);
  Turn at(std::int64_t position) const;

 private:
  std::vector<std::uint16_t> source_;  ///< of each place in the pattern
  std::vector<std::int32_t> earlier_;  ///< places of the same source before it
  std::vector<std::int64_t> quota_;    ///< places per source
};

}  // namespace microdit::stream

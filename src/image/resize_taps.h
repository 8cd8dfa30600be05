// The weights of Pillow's bicubic resize: which source positions make an output position.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace microdit::image {

constexpr int kPrecisionBits = 32 - 8 - 2;  // of the weights; the sum of 8-bit pixels then fits 32 bits
constexpr int kSplitBits = 12;              // of a weight's lower half

/// Which part of a resized picture is wanted.
struct Span {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// For every output position: the first source position, the number of weights, and the weights, whose sum is 1.
struct ExactTaps {
  std::int64_t window = 0;
  std::vector<std::int64_t> first;
  std::vector<std::int64_t> count;
  std::vector<double> weights;  // outputs x window
};

/// The same in Pillow's fixed point.
struct Taps {
  std::int64_t window = 0;
  std::vector<std::int64_t> first;
  std::vector<std::int64_t> count;
  std::vector<std::int32_t> weights;  // outputs x window
  // The same for instructions that multiply pairs of 16-bit numbers: weight = high * 2^12 + low, two neighbours in one
  // word. Both sums are exact in 32 bits, so their whole is what the 32-bit sum is.
  std::int64_t pairs = 0;
  std::vector<std::uint32_t> high, low;  // outputs x pairs

  Span source() const {
    const std::int64_t begin = *std::min_element(first.begin(), first.end());
    std::int64_t end = begin;
    for (std::size_t i = 0; i < first.size(); ++i) end = std::max(end, first[i] + count[i]);
    return {begin, end - begin};
  }
};

/// The weights of the outputs `wanted` of an axis that goes from `from` to `to` positions.
ExactTaps make_exact_taps(std::int64_t from, std::int64_t to, Span wanted);
Taps make_taps(std::int64_t from, std::int64_t to, Span wanted);

}  // namespace microdit::image

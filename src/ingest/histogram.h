// Counts in named bins: how large pictures are, how long captions.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace microdit::ingest {

class Histogram {
 public:
  struct Bin {
    double begin = 0;  ///< the least value it takes; up to the next one's begin
    std::string name{};
    std::int64_t count = 0;
  };
  Histogram() = default;
  /// Begins ascending; the last bin has no end, and the first one takes what is smaller, too.
  explicit Histogram(std::vector<Bin> bins) : bins_(std::move(bins)) {}

  void add(double value);
  /// Of the same bins; or one of the two has none yet.
  void merge(const Histogram& other);
  const std::vector<Bin>& bins() const { return bins_; }
  std::int64_t total() const;

 private:
  std::vector<Bin> bins_;
};

/// Shorter sides, in pixels.
Histogram side_histogram();
/// Width over height.
Histogram aspect_histogram();
/// Characters of captions that are not empty.
Histogram character_histogram();
/// Tokens of captions of which an encoder sees `most`; the last bin holds those that fill it.
Histogram token_histogram(std::int64_t most);

}  // namespace microdit::ingest

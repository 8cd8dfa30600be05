// How the numbers of a column lie: counted in a fixed amount of memory, added up shard by shard.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "ingest/histogram.h"

namespace microdit::ingest {

/// Holds each value that comes as long as these are few; then ever wider ranges of them, each a power of two's share (of many
/// different values some 0.5 % wide). What it says depends on the values alone, not on their order.
class NumberCounts {
 public:
  void add(double value);
  void merge(const NumberCounts& other);
  std::int64_t count() const { return count_; }    ///< of finite values
  std::int64_t absent() const { return absent_; }  ///< NaN, and what is infinite
  /// "9990 numbers from 0.5 to 9, median 4.25; NaN in 10"; of many values "median about 4.2".
  std::string text() const;
  /// A bin per value where there are few, else some of one width.
  Histogram histogram() const;

 private:
  double rounded(double value) const;
  void coarsen_to(int bits);
  double median() const;
  std::map<double, std::int64_t> values_;  ///< a value, or the end nearer to zero of its range -> how many
  int dropped_ = 0;                        ///< bits of a value's fraction
  std::int64_t count_ = 0, absent_ = 0;
  double least_ = 0, greatest_ = 0;
};

}  // namespace microdit::ingest

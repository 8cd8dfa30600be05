// Sees a training that diverges: its loss far above where it began.
#pragma once

#include <cstddef>
#include <deque>
#include <string>

namespace microdit::train {

/// How many losses are looked at together: by the watch, by the report's averaged curve.
inline constexpr std::size_t kLossWindow = 50;

/// Compares the median of the last kLossWindow losses with the first one: a single spike is no divergence.
class LossWatch {
 public:
  void add(double loss);  ///< one that is not finite does not count
  bool diverged() const;
  /// "the loss diverged: 1.9e+04 (median of the last 50 steps), 1.02 at the start".
  std::string text() const;

 private:
  double recent() const;

  double first_ = 0;
  std::deque<double> last_;
};

}  // namespace microdit::train

// One axis of a plot: its range, its ticks at round numbers, and where a value falls.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace microdit::image {

struct Tick {
  double position = 0.0;  ///< 0 to 1 along the axis
  std::string label;      ///< may be empty (a minor tick)
};

class Axis {
 public:
  /// Covers [low, high], widened to round numbers when `widen`. A logarithmic axis needs low > 0.
  Axis(double low, double high, bool logarithmic, bool widen);

  /// 0 at the low end, 1 at the high end.
  double position(double value) const;
  /// About `wanted` labelled ticks.
  std::vector<Tick> ticks(int wanted) const;

 private:
  double low_;  // of the value, or of its decimal logarithm
  double high_;
  bool logarithmic_;
};

}  // namespace microdit::image

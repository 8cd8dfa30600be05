// Round tick values: 1, 2 or 5 times a power of ten.
#include "image/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace microdit::image {
namespace {

constexpr int kUsualTicks = 6;

double round_step(double range, int wanted) {
  const double rough = range / std::max(wanted, 1);
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * (1 - 1e-9)) return factor * power;
  }
  return 10.0 * power;
}

/// Decimals that tell neighbours apart, k and M for large axes, powers where neither suits.
std::string label(double value, double step, double largest) {
  if (largest >= 1e9 || largest < 1e-4) return fmt::format("{:.4g}", value);
  double unit = 1.0;
  const char* suffix = "";
  if (largest >= 1e6) {
    unit = 1e6;
    suffix = "M";
  } else if (largest >= 1e4) {
    unit = 1e3;
    suffix = "k";
  }
  if (std::fabs(value) < step * 1e-6) return "0";
  const int decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(step / unit) - 1e-9)), 0, 8);
  return fmt::format("{:.{}f}{}", value / unit, decimals, suffix);
}

std::string power_label(double value) {
  return value >= 1e-3 && value < 1e5 ? fmt::format("{:.6g}", value) : fmt::format("{:.0e}", value);
}

}  // namespace

Axis::Axis(double low, double high, bool logarithmic, bool widen)
    : low_(logarithmic ? std::log10(low) : low),
      high_(logarithmic ? std::log10(high) : high),
      logarithmic_(logarithmic) {
  // A single value gets a range around it.
  if (!(high_ - low_ > 1e-12 * std::max(std::fabs(low_), std::fabs(high_)))) {
    const double margin = logarithmic ? 0.5 : std::max(std::fabs(high_) * 0.5, 0.5);
    low_ -= margin;
    high_ += margin;
  }
  if (!widen) return;
  if (logarithmic_) {
    const double margin = (high_ - low_) * 0.04;
    low_ -= margin;
    high_ += margin;
  } else {
    const double step = round_step(high_ - low_, kUsualTicks);
    low_ = std::floor(low_ / step + 1e-9) * step;
    high_ = std::ceil(high_ / step - 1e-9) * step;
  }
}

double Axis::position(double value) const {
  return ((logarithmic_ ? std::log10(value) : value) - low_) / (high_ - low_);
}

std::vector<Tick> Axis::ticks(int wanted) const {
  std::vector<Tick> result;
  if (!logarithmic_) {
    const double step = round_step(high_ - low_, wanted);
    const double largest = std::max(std::fabs(low_), std::fabs(high_));
    for (double i = std::ceil(low_ / step - 1e-9); i * step <= high_ + step * 1e-9; ++i) {
      result.push_back({(i * step - low_) / (high_ - low_), label(i * step, step, largest)});
    }
    return result;
  }
  const double decades = high_ - low_;
  if (decades < 1) {  // too few whole digits: round values at even distances
    const double low = std::pow(10.0, low_), high = std::pow(10.0, high_),
                 step = round_step(high - low, wanted);
    for (double i = std::ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i)
      result.push_back({(std::log10(i * step) - low_) / decades, label(i * step, step, high)});
    return result;
  }
  const double stride =
      std::max(1.0, std::ceil(decades / std::max(wanted, 1)));  // labelled every so many decades
  for (double decade = std::floor(low_); decade <= high_; ++decade) {
    for (int digit = 1; digit <= 9; ++digit) {
      const double at = decade + std::log10(digit);
      if (at < low_ - 1e-9 || at > high_ + 1e-9) continue;
      const bool whole = digit == 1 && std::fmod(std::fabs(decade), stride) == 0;
      const bool labelled = whole || (decades < 2.5 && (digit == 2 || digit == 5));
      if (!labelled && stride > 1) continue;
      result.push_back({(at - low_) / decades, labelled ? power_label(digit * std::pow(10.0, decade)) : ""});
    }
  }
  return result;
}

}  // namespace microdit::image

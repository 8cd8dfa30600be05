// The median of a window against the first loss.
#include "train/loss_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace microdit::train {
namespace {

constexpr double kFactor = 10;
constexpr std::size_t kLeast = 10;  // of losses, before anything is said

}  // namespace

void LossWatch::add(double loss) {
  if (!std::isfinite(loss)) return;
  if (first_ == 0) first_ = loss;
  last_.push_back(loss);
  if (last_.size() > kLossWindow) last_.pop_front();
}

double LossWatch::recent() const {
  std::vector<double> sorted(last_.begin(), last_.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

bool LossWatch::diverged() const {
  return last_.size() >= kLeast && first_ > 0 && recent() > kFactor * first_;
}

std::string LossWatch::text() const {
  return fmt::format("the loss diverged: {:.4g} (median of the last {} steps), {:.4g} at the start", recent(),
                     last_.size(), first_);
}

}  // namespace microdit::train

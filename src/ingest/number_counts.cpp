// Fewer bits of the fraction, fewer values.
#include "ingest/number_counts.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>
#include <vector>

namespace microdit::ingest {
namespace {

constexpr std::size_t kValues = 4096;  // that are held apart
constexpr int kFraction = 52, kStep = 4;
constexpr std::size_t kBins = 12;

}  // namespace

double NumberCounts::rounded(double value) const {
  const std::uint64_t kept = ~std::uint64_t{0} << dropped_;
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(value) & kept) + 0.;
}

void NumberCounts::coarsen_to(int bits) {
  dropped_ = std::min(bits, kFraction);
  std::map<double, std::int64_t> wider;
  for (const auto& [value, count] : values_) wider[rounded(value)] += count;
  values_ = std::move(wider);
}

void NumberCounts::add(double value) {
  if (!std::isfinite(value)) {
    ++absent_;
    return;
  }
  value += 0.;  // no -0
  least_ = count_ == 0 ? value : std::min(least_, value);
  greatest_ = count_ == 0 ? value : std::max(greatest_, value);
  ++count_;
  ++values_[rounded(value)];
  while (values_.size() > kValues && dropped_ < kFraction) coarsen_to(dropped_ + kStep);
}

void NumberCounts::merge(const NumberCounts& other) {
  absent_ += other.absent_;
  if (other.count_ == 0) return;
  least_ = count_ == 0 ? other.least_ : std::min(least_, other.least_);
  greatest_ = count_ == 0 ? other.greatest_ : std::max(greatest_, other.greatest_);
  count_ += other.count_;
  if (other.dropped_ > dropped_) coarsen_to(other.dropped_);
  for (const auto& [value, count] : other.values_) values_[rounded(value)] += count;
  while (values_.size() > kValues && dropped_ < kFraction) coarsen_to(dropped_ + kStep);
}

double NumberCounts::median() const {
  std::int64_t before = 0;
  for (const auto& [value, count] : values_) {
    before += count;
    if (2 * before >= count_) return std::clamp(value, least_, greatest_);
  }
  return greatest_;
}

std::string NumberCounts::text() const {
  const std::string absent = absent_ > 0 ? fmt::format("; NaN in {}", absent_) : "";
  if (count_ == 0) return "no number" + absent;
  const std::string middle =
      dropped_ > 0 ? fmt::format("about {:.3g}", median()) : fmt::format("{:.6g}", median());
  return fmt::format("{} numbers from {:.6g} to {:.6g}, median {}{}", count_, least_, greatest_, middle,
                     absent);
}

Histogram NumberCounts::histogram() const {
  std::vector<Histogram::Bin> bins;
  if (dropped_ == 0 && values_.size() <= kBins) {
    for (const auto& [value, count] : values_) bins.push_back({value, fmt::format("{:.6g}", value), count});
    return Histogram(std::move(bins));
  }
  const double width = greatest_ / kBins - least_ / kBins;
  const auto begin = [&](std::size_t i) { return least_ + width * static_cast<double>(i); };
  for (std::size_t i = 0; i < kBins; ++i)
    bins.push_back(
        {begin(i), fmt::format("{:.4g} to {:.4g}", begin(i), i + 1 < kBins ? begin(i + 1) : greatest_)});
  for (const auto& [value, count] : values_) {
    const auto after = std::ranges::upper_bound(bins, value, {}, &Histogram::Bin::begin);
    (after == bins.begin() ? after : std::prev(after))->count += count;
  }
  return Histogram(std::move(bins));
}

}  // namespace microdit::ingest

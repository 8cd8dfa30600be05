// The bins that people think in.
#include "ingest/histogram.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"

namespace microdit::ingest {
namespace {

/// "64 to 127", ..., "2048 and more".
std::vector<Histogram::Bin> whole_numbers(const std::vector<std::int64_t>& begins) {
  std::vector<Histogram::Bin> bins;
  for (std::size_t i = 0; i < begins.size(); ++i) {
    std::string name = fmt::format("{} and more", begins[i]);
    if (i + 1 < begins.size()) {
      const std::int64_t end = begins[i + 1] - 1;
      name = end == begins[i] ? fmt::format("{}", end) : fmt::format("{} to {}", begins[i], end);
    }
    bins.push_back({static_cast<double>(begins[i]), std::move(name)});
  }
  return bins;
}

}  // namespace

void Histogram::add(double value) {
  core::check(!bins_.empty(), "a histogram without bins");
  const auto after = std::ranges::upper_bound(bins_, value, {}, &Bin::begin);
  ++(after == bins_.begin() ? after : after - 1)->count;
}

void Histogram::merge(const Histogram& other) {
  if (other.bins_.empty()) return;
  if (bins_.empty()) {
    bins_ = other.bins_;
    return;
  }
  core::check(bins_.size() == other.bins_.size(), "{} bins and {}", bins_.size(), other.bins_.size());
  for (std::size_t i = 0; i < bins_.size(); ++i) bins_[i].count += other.bins_[i].count;
}

std::int64_t Histogram::total() const {
  std::int64_t sum = 0;
  for (const Bin& bin : bins_) sum += bin.count;
  return sum;
}

Histogram side_histogram() {
  return Histogram(whole_numbers({0, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048}));
}

Histogram aspect_histogram() {
  return Histogram({{0, "narrower than 1:2"},
                    {1. / 2, "1:2 to 2:3"},
                    {2. / 3, "2:3 to 3:4"},
                    {3. / 4, "3:4 to 1:1"},
                    {1, "square"},
                    {std::nextafter(1., 2.), "1:1 to 4:3"},
                    {4. / 3, "4:3 to 3:2"},
                    {3. / 2, "3:2 to 2:1"},
                    {2, "2:1 and wider"}});
}

Histogram character_histogram() {
  return Histogram(whole_numbers({1, 10, 20, 40, 60, 80, 100, 150, 200, 300, 500, 1000}));
}

Histogram token_histogram(std::int64_t most) {
  constexpr std::int64_t kBins = 12, kLongest = 1 << 20;
  most = std::clamp<std::int64_t>(most, 1, kLongest);
  const std::int64_t width = (most + kBins - 1) / kBins;
  std::vector<std::int64_t> begins;
  for (std::int64_t begin = 0; begin < most; begin += width) begins.push_back(begin);
  begins.push_back(most);
  std::vector<Histogram::Bin> bins = whole_numbers(begins);
  bins.back().name = fmt::format("{} (all that fit)", most);
  return Histogram(std::move(bins));
}

}  // namespace microdit::ingest

// Feistel permutation and greedy mixture.
#include "stream/order.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/seed.h"

namespace microdit::stream {
namespace {

constexpr std::int64_t kPattern = 65536;  // places; the resolution of proportions

// Finaliser of splitmix64: every input bit reaches every output bit.
std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// Whole places per source that sum to kPattern: largest remainders, at least one each.
std::vector<std::int64_t> quotas(const std::vector<double>& proportions) {
  const double sum = std::accumulate(proportions.begin(), proportions.end(), 0.0);
  std::vector<std::int64_t> quota;
  std::vector<std::pair<double, std::size_t>> remainders;
  for (std::size_t i = 0; i < proportions.size(); ++i) {
    const double exact = proportions[i] / sum * static_cast<double>(kPattern);
    quota.push_back(std::max<std::int64_t>(1, static_cast<std::int64_t>(std::floor(exact))));
    remainders.emplace_back(exact - std::floor(exact), i);
  }
  std::stable_sort(remainders.begin(), remainders.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::int64_t left = kPattern - std::accumulate(quota.begin(), quota.end(), std::int64_t{0});
  for (std::size_t i = 0; left > 0; i = (i + 1) % remainders.size(), --left) ++quota[remainders[i].second];
  for (; left < 0; ++left) --*std::max_element(quota.begin(), quota.end());
  return quota;
}

}  // namespace

Permutation::Permutation(std::int64_t size, std::uint64_t seed, std::uint64_t source, std::uint64_t epoch)
    : size_(static_cast<std::uint64_t>(size)), half_bits_(1) {
  core::check(size > 0, "permutation of {} samples", size);
  while ((std::uint64_t{1} << (2 * half_bits_)) < size_) ++half_bits_;
  core::CounterRng rng(core::derive_seed(seed, source), core::Purpose::order, epoch);
  for (std::uint64_t& key : keys_) key = rng.next_u64();
}

std::int64_t Permutation::operator()(std::int64_t index) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t x = static_cast<std::uint64_t>(index);
  do {
    std::uint64_t left = x >> half_bits_, right = x & mask;
    for (const std::uint64_t key : keys_) {
      const std::uint64_t next = left ^ (mix(right + key) & mask);
      left = right;
      right = next;
    }
    x = left << half_bits_ | right;
  } while (x >= size_);
  return static_cast<std::int64_t>(x);
}

EpochOrder::EpochOrder(std::int64_t size, std::int64_t run, std::uint64_t seed, std::uint64_t source,
                       std::uint64_t epoch)
    : size_(size),
      run_(std::min(run, size)),
      in_runs_(size / run_ * run_),
      shift_(0),
      runs_(size / run_, seed, source, epoch) {
  core::check(run > 0, "runs of {} samples", run);
  if (run_ > 1)
    shift_ = static_cast<std::int64_t>(
        core::CounterRng(core::derive_seed(seed, source), core::Purpose::run_shift, epoch)
            .below(static_cast<std::uint64_t>(size)));
}

std::int64_t EpochOrder::operator()(std::int64_t index) const {
  const std::int64_t place = index < in_runs_ ? runs_(index / run_) * run_ + index % run_ : index;
  return (place + shift_) % size_;
}

bool by_size(const std::vector<double>& proportions) {
  for (std::size_t i = 0; i < proportions.size(); ++i) {
    if (!(proportions[i] >= 0 && proportions[i] < 1e9))
      core::user_error("data[{}].proportion: {} is not a share; give 0 or more", i, proportions[i]);
    if ((proportions[i] == 0) != (proportions[0] == 0)) {
      const std::size_t without = proportions[i] == 0 ? i : 0;
      core::user_error(
          "data[{}].proportion: missing or 0, but data[{}] has one; give all sources one, or none (by size)",
          without, i - without);
    }
  }
  return !proportions.empty() && proportions[0] == 0;
}

Mixture::Mixture(const std::vector<double>& proportions) : quota_(quotas(proportions)) {
  core::check(proportions.size() <= 1024, "{} sources", proportions.size());
  std::vector<std::int64_t> shown(quota_.size(), 0);
  for (std::int64_t place = 0; place < kPattern; ++place) {
    std::size_t best = 0;
    std::int64_t most = INT64_MIN;
    for (std::size_t i = 0; i < quota_.size(); ++i) {
      const std::int64_t behind = quota_[i] * (place + 1) - kPattern * shown[i];
      if (behind > most && shown[i] < quota_[i]) {
        most = behind;
        best = i;
      }
    }
    source_.push_back(static_cast<std::uint16_t>(best));
    earlier_.push_back(static_cast<std::int32_t>(shown[best]++));
  }
}

Turn Mixture::at(std::int64_t position) const {
  const std::size_t place = static_cast<std::size_t>(position % kPattern);
  const std::size_t source = source_[place];
  return {source, position / kPattern * quota_[source] + earlier_[place]};
}

}  // namespace microdit::stream

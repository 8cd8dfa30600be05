// The slowest rank.
#include "train/stragglers.h"

#include <algorithm>

#include "core/environment.h"

namespace microdit::train {

Stragglers::Stragglers(comm::Communicator& comm) : comm_(comm), hosts_(comm.all_gather(core::host_name())) {}

std::optional<SlowestRank> Stragglers::step(double busy_s) {
  busy_s_ += busy_s;
  if (++steps_ % kStragglerSteps != 0 || comm_.size() == 1) return std::nullopt;
  std::vector<double> all(static_cast<std::size_t>(comm_.size()));
  all[static_cast<std::size_t>(comm_.rank())] = busy_s_;
  busy_s_ = 0;
  comm_.all_reduce_sum(all);
  const auto slowest = std::ranges::max_element(all);
  const auto rank = static_cast<std::size_t>(slowest - all.begin());
  const double most = *slowest;
  std::ranges::nth_element(all, all.begin() + static_cast<std::ptrdiff_t>((all.size() - 1) / 2));
  const double median = std::max(1e-9, all[(all.size() - 1) / 2]);
  return SlowestRank{static_cast<int>(rank), hosts_[rank], most / median};
}

}  // namespace microdit::train

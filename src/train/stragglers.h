// Which rank computes longest, and whether it holds up the others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace microdit::train {

/// Looked at every kStragglerSteps: one rank that is so much slower than the median is a fault of its node, a busy neighbour, a hot card.
inline constexpr std::int64_t kStragglerSteps = 50;
inline constexpr double kStragglerFactor = 1.5;

struct SlowestRank {
  int rank = 0;
  std::string host;
  double of_median = 1;  ///< its time computing, by the median rank's
  bool is_straggler() const { return of_median >= kStragglerFactor; }
};

class Stragglers {
 public:
  /// Collective.
  explicit Stragglers(comm::Communicator& comm);
  /// Of every step: how long this rank computed, without waiting for data or other ranks. Collective every kStragglerSteps-th time, which
  /// then says who was slowest; nothing with a single rank.
  std::optional<SlowestRank> step(double busy_s);

 private:
  comm::Communicator& comm_;
  std::vector<std::string> hosts_;  ///< by rank
  std::int64_t steps_ = 0;
  double busy_s_ = 0;
};

}  // namespace microdit::train

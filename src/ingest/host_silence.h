// How long a host has served nobody, as those who asked it found.
#pragma once

#include <chrono>
#include <cstdint>

#include "ingest/limits.h"

namespace microdit::ingest {

/// Requests to one host in a row that were no service. Time counts by the kind of answer, and only while somebody asks: from one failure
/// to the next, but not longer than the pause that was to lie between them, the request itself and kLate_s.
class Silence {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Kind {
    mute,  ///< no byte of an answer
    busy,  ///< an answer, and no byte of a file
  };
  /// How long a host that has served before is waited for.
  struct Patience {
    double mute_s = limits::kOutageSeconds, busy_s = limits::kBusySeconds;
  };

  /// A request from `began` to `now` was none. Those that were under way together count as one.
  void failed(Kind kind, bool hung_up, Clock::time_point began, Clock::time_point now);
  /// What was to follow the last failure.
  void pause(double seconds) { pause_s_ = seconds; }
  /// Bytes of a file that began before: the host serves, if not everybody. Pauses go on growing.
  void bytes_came(Clock::time_point now);

  std::int64_t count() const { return count_; }
  std::int64_t hang_ups() const { return hang_ups_; }  ///< of them
  double seconds() const { return mute_s_ + busy_s_; }
  bool is_over(const Patience& patience) const {
    return mute_s_ >= patience.mute_s || busy_s_ >= patience.busy_s;
  }

 private:
  Clock::time_point last_{}, counted_{};  ///< failures
  double pause_s_ = 0, mute_s_ = 0, busy_s_ = 0;
  std::int64_t count_ = 0, hang_ups_ = 0;
};

}  // namespace microdit::ingest

// A host's silence: failures and their time.
#include "ingest/host_silence.h"

#include <algorithm>

namespace microdit::ingest {
namespace {

constexpr double kLate_s = 60;  ///< who waits comes later than it may: its thread is busy with another file

double seconds_of(Silence::Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

void Silence::failed(Kind kind, bool hung_up, Clock::time_point began, Clock::time_point now) {
  const double since_last_s = seconds_of(now - (last_ == Clock::time_point() ? began : last_));
  const double asked_s = pause_s_ + seconds_of(now - began) + kLate_s;
  (kind == Kind::mute ? mute_s_ : busy_s_) += std::min(since_last_s, asked_s);
  last_ = now;
  if (count_ > 0 && began < counted_) return;
  counted_ = now;
  ++count_;
  hang_ups_ += hung_up ? 1 : 0;
}

void Silence::bytes_came(Clock::time_point now) {
  mute_s_ = busy_s_ = 0;
  if (last_ != Clock::time_point()) last_ = now;
}

}  // namespace microdit::ingest

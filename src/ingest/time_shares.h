// How the threads of a stage spend their time, for one line at its end.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <string>

namespace microdit::ingest {

enum class Spent { read, decode, resize, wait, encode, write };
inline constexpr std::size_t kSpentKinds = 6;

class TimeShares {
 public:
  /// While it lives, time counts as `kind`.
  class Scope {
   public:
    Scope(TimeShares& shares, Spent kind) : shares_(shares), kind_(kind) {}
    ~Scope() { shares_.add(kind_, std::chrono::duration<double>(Clock::now() - start_).count()); }
    Scope(const Scope&) = delete;

   private:
    using Clock = std::chrono::steady_clock;
    TimeShares& shares_;
    Spent kind_;
    Clock::time_point start_ = Clock::now();
  };

  /// From any thread.
  void add(Spent kind, double seconds) { seconds_[static_cast<std::size_t>(kind)] += seconds; }
  double seconds(Spent kind) const { return seconds_[static_cast<std::size_t>(kind)]; }
  /// "read 2 %, wait 5 %, encode 90 %, write 3 %; decode 12 s, resize 9 s in the workers" of `wall_s`.
  std::string text(double wall_s) const;

 private:
  std::array<std::atomic<double>, kSpentKinds> seconds_{};
};

}  // namespace microdit::ingest

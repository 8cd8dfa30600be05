// A live line every few seconds: how far, how fast, how long still.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace microdit::ingest {

/// Any thread may add.
class Progress {
 public:
  /// "<verb> <done>/<total> items, <amount> <unit> (<rate> <unit>/s), ETA ..."; a total of 0 items prints
  /// nothing.
  Progress(std::string verb, std::string unit, std::int64_t total_items);
  /// More of the current item was done; prints when the last line is old enough.
  void add(double amount);
  /// One more item is finished (`fresh`: by this run, so that it counts for the ETA).
  void item_done(bool fresh);
  /// The closing line: totals and the mean rate. `stopped`: the job was asked to stop.
  void finish(bool stopped) const;

 private:
  void print_if_due();
  using Clock = std::chrono::steady_clock;
  std::mutex lock_;
  std::string verb_, unit_;
  std::int64_t total_, done_ = 0, fresh_ = 0;
  double amount_ = 0;
  Clock::time_point start_ = Clock::now(), last_line_ = start_;
};

/// "3.2 MB", "1.2k": a number people can read; bytes when `unit` is "B".
std::string readable(double amount, const std::string& unit);

}  // namespace microdit::ingest

// Ends the job with exit code 76 when a collective lasts longer than its deadline.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace microdit::comm {

/// One thread per rank. `deadline_s` <= 0: no deadline until set_deadline() gives one.
class Watchdog {
 public:
  /// What is wrong with work in flight elsewhere (a GPU's stream), or "" when nothing is. Called on the
  /// watchdog's thread.
  using Probe = std::function<std::string(double deadline_s)>;

  /// `end_job` is called on the watchdog's thread with the reason's exit code; if it returns or hangs, the
  /// process exits.
  Watchdog(double deadline_s, int rank, std::function<void(int)> end_job);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void set_deadline(double seconds);
  double deadline_s() const { return deadline_s_; }
  bool active() const { return deadline_s_ > 0; }
  void add_probe(const void* owner, Probe probe);
  /// Returns after a running call of it ended.
  void remove_probe(const void* owner);

  /// A collective in progress: watched from construction to destruction. `what` must outlive it. Nested: the
  /// inner one counts while it lives.
  class Watch {
   public:
    Watch(Watchdog& watchdog, const char* what, std::int64_t bytes);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    Watchdog& watchdog_;
    const char* outer_what_;
    std::int64_t outer_bytes_;
    std::chrono::steady_clock::time_point outer_started_;
  };

 private:
  void loop();
  std::chrono::duration<double> tick() const;
  std::string fault();
  [[noreturn]] void end(const std::string& reason);

  std::atomic<double> deadline_s_;
  const int rank_;
  const std::function<void(int)> end_job_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::map<const void*, Probe> probes_;  ///< by owner
  const char* what_ = nullptr;           ///< null = nothing in progress
  std::int64_t bytes_ = 0;
  std::int64_t num_done_ = 0;  ///< collectives completed, for the log
  std::chrono::steady_clock::time_point started_{};
  std::thread thread_;
};

}  // namespace microdit::comm

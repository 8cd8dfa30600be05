// What follows from the way a life ended: done, another life, or the end. No clock, no file, no Slurm.
#pragma once

#include <cstdint>
#include <string>

namespace microdit::lives {

/// How often in a row a job may live in vain.
struct Limits {
  std::int64_t fruitless = 3;  ///< lives in a row that published nothing: the last of them ends the job
  std::int64_t faults = 3;     ///< requeues after a fault; counted anew after progress
};

/// What one life leaves for the next to count on.
struct Counters {
  std::int64_t lives = 0;  ///< begun so far
  std::int64_t fruitless = 0;
  std::int64_t faults = 0;
};

/// The end of the ranks as the launcher reports it.
struct Ending {
  int exit_code = 0;
  bool progress = false;        ///< something was published in this life
  bool stop_was_asked = false;  ///< SIGUSR1 or SIGTERM came
  bool was_overdue = false;     ///< the ranks did not stop in time and were killed
  bool is_later = false;        ///< an earlier life was accepted and ran
  bool ranks_began = true;      ///< the launcher started some rank
};

enum class Next { done, live_again, live_elsewhere, end };

struct Decision {
  Next next = Next::end;
  int exit_code = 1;  ///< of the job, should it go no further
  std::string why{};  ///< for the log; empty when done
};

/// Brings `counters` up to date and decides. 75, or death by a signal that asked to stop: live_again. 76, or
/// a crash or a hang after progress, or, of a later life, exit 2 or no rank: live_elsewhere, without the nodes
/// that had it. Anything else ends the job.
Decision decide(const Ending& ending, const Limits& limits, Counters& counters);

}  // namespace microdit::lives

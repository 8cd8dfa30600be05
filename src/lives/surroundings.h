// Which job this is and what Slurm gave it, read from the environment once.
#pragma once

#include <cstdint>
#include <string>

#include "core/environment.h"
#include "lives/rules.h"

namespace microdit::lives {

struct Surroundings {
  std::string job{};  ///< what squeue and scontrol call it: 17, or 17_3 for an array task; "" outside Slurm
  std::string key{};  ///< the job of the first life: `job`, unless a site makes each life a job of its own
  std::string cluster{};
  std::string nodes{};  ///< Slurm's compressed list
  std::string host{};
  std::int64_t num_nodes = 1;
  std::int64_t ranks = 1;
  std::int64_t gpus = 0;  ///< of all nodes
  std::int64_t restart_count = 0;
  bool take_over = false;  ///< MICRODIT_TAKE_OVER
  bool resubmit = false;   ///< MICRODIT_CONTINUE=resubmit
  std::int64_t stop_seconds =
      240;          ///< MICRODIT_STOP_SECONDS: from the signal to the end of the ranks; 0: no limit
  Limits limits{};  ///< MICRODIT_FRUITLESS_LIVES, MICRODIT_FAULTS

  bool in_slurm() const { return !job.empty(); }
  /// Nothing of this job has run before.
  bool first() const { return restart_count == 0 && key == job; }
};

/// UserError on a MICRODIT_* variable with a value that it cannot have.
Surroundings read_surroundings();

using core::variable;

/// Seconds since 1970, and such a moment as 2026-01-31T12:00:00+01:00.
std::int64_t now();
std::string iso_date(std::int64_t moment);

/// One line on stderr: date, host, who, text.
void say(const std::string& who, const std::string& text);

}  // namespace microdit::lives

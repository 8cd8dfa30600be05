// The next life of a job: requeued, or submitted as a new job where the site wants that.
#pragma once

#include <string>

#include "lives/kept.h"
#include "lives/slurm.h"
#include "lives/surroundings.h"

namespace microdit::lives {

struct Again {
  bool lives = false;       ///< there will be a next life
  std::string successor{};  ///< the new job's id, when it is one
  int exit_code = 75;       ///< of this life's script
  bool is_over = false;     ///< not even Slurm itself will start the job again
  std::string text{};       ///< what happened, for the log
};

/// `avoid`: nodes that the next life must not get. `terminated`: SIGTERM came, so the job may be being
/// cancelled, and nothing is done unless Slurm says that it goes on (it would revive even a job that a person
/// has ended).
struct AgainRequest {
  const Surroundings& here;
  const Stage& stage;
  const Words& script_arguments;  ///< as the script was given
  std::filesystem::path script{};
  std::string avoid{};
  bool terminated = false;
};
Again live_again(const AgainRequest& request, const Slurm& slurm);

/// sbatch's words for a job like this one: what it was given on the command line is known only from its
/// facts.
Words same_options(const JobFacts& facts, const Surroundings& here);

/// "i/n" of a task of a job array, as the programs count; empty when the ids are not evenly spaced.
std::string array_share();

}  // namespace microdit::lives

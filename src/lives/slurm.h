// What life asks of Slurm, with its answers sorted: yes, no, or no answer, which is never taken for a no.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lives/command.h"

namespace microdit::lives {

/// How long a busy controller is asked again.
struct Patience {
  std::chrono::milliseconds total{240'000};
  std::chrono::milliseconds pause{5'000};
  std::chrono::seconds one_call{20};
};

/// `scontrol show job`, key by key; what Slurm leaves empty is absent. "JobState" is "GONE" where it knows no
/// such job.
using JobFacts = std::map<std::string, std::string>;

/// Whether a job with these facts is neither ended nor being ended, or only by its time limit.
bool goes_on(const JobFacts& facts);
/// It has reached its time limit.
bool is_out_of_time(const JobFacts& facts);

struct Holder {
  bool holds = false;   ///< the job waits, runs or ends
  bool hidden = false;  ///< Slurm knows no such job, or does not show it to us (PrivateData=jobs)
  std::string where{};  ///< such as "RUNNING on n[1-2]"
};

struct Reply {
  enum Kind { yes, no, silence } kind = silence;
  std::string text{};  ///< Slurm's own words, or a new job's id
};

class Slurm {
 public:
  explicit Slurm(Patience patience = {}) : patience_(patience) {}

  /// Asked once; nothing when Slurm does not answer.
  std::optional<JobFacts> facts(const std::string& job) const;
  std::optional<Holder> holder(const std::string& job, const std::string& cluster) const;
  Reply requeue(const std::string& job) const;
  Reply exclude(const std::string& job, const std::string& nodes) const;
  /// "n[1-2],m" as "n1 n2 m"; the number of nodes of a partition. Empty, 0: no answer.
  Words host_names(const std::string& nodes) const;
  std::int64_t num_nodes(const std::string& partition) const;
  /// sbatch with these words; the reply's text is the new job's id.
  Reply submit(const Words& words) const;
  /// The waiting job that runs `script` after `job`: yes with its id, no, or silence.
  Reply find_successor(const std::string& job, const std::string& script) const;
  /// Makes what waits for `job` wait for `successor` instead, or, of one array task, for it as well. False
  /// when some dependent could not be moved.
  bool move_dependents(const std::string& job, const std::string& successor) const;

  /// Calls `attempt` until it is not silent or patience is over; between the calls it pauses.
  Reply insist(const std::function<Reply()>& attempt) const;
  const Patience& patience() const { return patience_; }

 private:
  Answer call(const Words& command) const;
  Patience patience_;
};

/// "afterok:17_*(unfulfilled),afterany:9" with 17 -> 20: "afterok:20,afterany:9". `keep`: both, 17 and 20.
/// Empty when 17 is not in it; nothing when its form cannot be changed safely.
std::optional<std::string> with_successor(const std::string& dependency, const std::string& job,
                                          const std::string& successor, bool keep);

}  // namespace microdit::lives

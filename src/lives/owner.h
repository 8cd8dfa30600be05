// Which job holds a run: one file, created by one job, believed while Slurm still knows that job.
#pragma once

#include <filesystem>

#include "core/error.h"
#include "lives/slurm.h"
#include "lives/surroundings.h"

namespace microdit::lives {

/// Another job holds the run.
struct Held : core::UserError {
  using UserError::UserError;
};

class Owner {
 public:
  /// FOLDER/owner; the folder is the run's life/.
  Owner(std::filesystem::path folder, const Surroundings& here, const Slurm& slurm);

  /// Takes the run for this job. Held when another one holds it (unless this is a first life that was
  /// told to take over), FaultError when Slurm does not say whether it does.
  void claim() const;
  /// The run is held by `job` from now on, this job's next life under another number.
  void hand_over(const std::string& job) const;
  /// Removes the claim if it is ours.
  void release() const;

 private:
  bool is_ours(const std::string& text) const;
  void judge(const std::string& text) const;
  bool replace(const std::string& text) const;
  bool create() const;
  std::string our_text(const std::string& job) const;

  std::filesystem::path folder_;
  const Surroundings& here_;
  const Slurm& slurm_;
};

}  // namespace microdit::lives

// runs/NAME/life/JOB/: what a training job's later lives run, whatever becomes of the build and the
// repository.
//   bin/train bin/life   the programs          lib -> the installation's libraries, where it has such a
//   folder config.yaml          resolved              job.sbatch env.sh site.sh   the scripts about.json who
//   started it when, where, with which arguments, revision and libraries lives.jsonl          one line per
//   life: when, where, how it ended
#pragma once

#include <filesystem>
#include <string>

#include "core/json.h"
#include "lives/command.h"
#include "lives/surroundings.h"

namespace microdit::lives {

/// What a job script asks for.
struct Stage {
  std::string name{};  ///< train, clean, ...
  Words arguments{};   ///< of the program
  Words launcher{};    ///< srun ..., mpirun ..., or nothing
  Words prefix{};      ///< put before every program of ours: apptainer exec --nv image.sif
  std::filesystem::path bin{};
  std::filesystem::path script{}, env{}, site{};  ///< the job's own shell files
  std::filesystem::path state{};                  ///< of this job; unused outside Slurm

  bool trains() const { return name == "train" || name == "train_codec"; }
};

/// Asks the program for its resolved config: the run's folder and the config's text. UserError with the
/// program's exit code in mind: what it says goes to our stderr.
struct Resolved {
  std::filesystem::path run{};
  std::string config{};
};
Resolved resolve(const Stage& stage);

/// Lets the program compare these settings with the run's, if it exists; throws Refused when it says no.
void check_settings(const Stage& stage);

/// A program said no, in its own words; all that is left is its exit code.
struct Refused {
  int exit_code = 2;
};

/// The folder of one job below a run's life/.
class Kept {
 public:
  explicit Kept(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// Copies everything aside and renames it into place, complete or not at all.
  void create(const Stage& stage, const std::string& config, const Surroundings& here) const;
  void remove() const;  ///< with the folders above it that are then empty
  void record(const core::Json& life) const;

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path run() const { return folder_.parent_path().parent_path(); }
  std::filesystem::path program(const Stage& stage) const { return folder_ / "bin" / stage.name; }
  std::filesystem::path config() const { return folder_ / "config.yaml"; }

 private:
  std::filesystem::path folder_;
};

/// This very program.
std::filesystem::path own_program();

}  // namespace microdit::lives

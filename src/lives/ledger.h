// What a job remembers between its lives: a small folder outside data and runs.
#pragma once

#include <filesystem>

#include "lives/rules.h"

namespace microdit::lives {

class Ledger {
 public:
  /// Opens DIR; `afresh`: whatever lies there is of an older job that had the same number, and goes.
  /// UserError when the folder cannot be written.
  Ledger(std::filesystem::path dir, bool afresh);

  Counters counters{};
  void save() const;
  void remove() const;

  /// Removes what the last life said of itself; the ranks say it anew.
  void begin_life() const;
  bool progress() const;             ///< the programs published something in this life
  bool ranks_began() const;          ///< some rank was started in this life
  std::string faulty_nodes() const;  ///< that ranks named in this life: "n1,n2"

  std::filesystem::path progress_file() const { return dir_ / "progress"; }
  std::filesystem::path ranks_file() const { return dir_ / "ranks_began"; }
  std::filesystem::path faults_file() const { return dir_ / "faulty_nodes"; }
  std::filesystem::path script() const { return dir_ / "job.sbatch"; }
  std::filesystem::path kept() const { return dir_ / "kept"; }  ///< a link into the run folder

 private:
  std::filesystem::path counters_file() const { return dir_ / "counters.json"; }
  std::filesystem::path dir_;
};

}  // namespace microdit::lives

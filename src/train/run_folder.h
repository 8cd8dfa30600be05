// runs/NAME/: where everything of one run lies, the rule that a resumed run keeps its settings, and that one job at a time
// trains it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/config.h"
#include "core/json.h"

namespace microdit::train {

struct LoopConfig;

/// A run's settings as they are kept: for comparison at a resume, and to read.
struct RunSettings {
  core::Json json;                                  ///< resolved
  std::string yaml;                                 ///< resolved
  std::map<std::string, core::AtResume> at_resume;  ///< core::resumable_keys
  core::Json life{};                                ///< who trains it this time; a line of lives.jsonl
};

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  RunFolder(RunFolder&& other) noexcept;
  ~RunFolder();
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.yaml"; }
  std::filesystem::path settings() const { return path_ / "settings.json"; }
  std::filesystem::path facts() const { return path_ / "facts.json"; }
  std::filesystem::path lives() const { return path_ / "lives.jsonl"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path samples() const { return path_ / "samples"; }
  std::filesystem::path tensorboard() const { return path_ / "tensorboard"; }
  std::filesystem::path report() const { return path_ / "report.html"; }

  /// Whether the run was started before. Collective: rank 0 looks.
  bool exists(comm::Communicator& comm) const;
  /// UserError on all ranks when the run exists and a setting that is fixed differs, naming key, old and new value.
  /// A word for each that changes the rounding; a recipe that was left open is the one that was found. Writes nothing. Collective.
  void compare_settings(const RunSettings& settings, comm::Communicator& comm) const;
  /// Likewise for what the data's manifests say; where things lie does not count.
  void compare_facts(const core::Json& facts, comm::Communicator& comm) const;
  /// Makes the folder, takes hold of it until this object ends, and writes config.yaml, settings.json,
  /// facts.json and a line of lives.jsonl.
  /// UserError, with nothing written, when another process holds it: it is named, and how to take over
  /// (MICRODIT_TAKE_OVER=1). An earlier life of this job does not hold it. Collective.
  void open(const RunSettings& settings, const core::Json& facts, comm::Communicator& comm);

 private:
  void take_hold();

  std::filesystem::path path_;
  int lock_ = -1;  ///< rank 0's
};

/// The recipe of the latents that source `number` of a run began with (`facts`: its record), where that is `dataset`; "" where
/// none is recorded.
std::string recorded_recipe(const core::Json& facts, std::size_t number, const std::string& dataset);

/// The folder of the run that a config names.
RunFolder run_folder(const LoopConfig& config);

/// A key at which two settings differ, dotted.
struct Difference {
  std::string key;
  std::string text;  ///< "optimizer.lr: 0.1 -> 0.2"
};
std::vector<Difference> differing_settings(const core::Json& old_settings, const core::Json& new_settings);

}  // namespace microdit::train

// runs/NAME/: where everything of one run lies, and the rule that a resumed run keeps its settings.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "comm/communicator.h"

namespace microdit::train {

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.yaml"; }
  std::filesystem::path settings() const { return path_ / "settings.json"; }
  std::filesystem::path facts() const { return path_ / "facts.json"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path samples() const { return path_ / "samples"; }
  std::filesystem::path tensorboard() const { return path_ / "tensorboard"; }
  std::filesystem::path report() const { return path_ / "report.html"; }

  /// First start: creates the folder and writes config.yaml, settings.json and facts.json. Later starts:
  /// UserError when a setting outside `harmless` (dotted prefixes) or a fact differs from the first start's,
  /// naming key, old and new value; config.yaml then takes the new harmless settings. Rank 0 works, all ranks
  /// see its error.
  void open(const core::Json& settings, const std::string& config_yaml, const core::Json& facts,
            const std::vector<std::string>& harmless, comm::Communicator& comm) const;

 private:
  std::filesystem::path path_;
};

/// Keys at which two settings differ, dotted, with both values: "optimizer.lr: 0.1 -> 0.2".
std::vector<std::string> differing_settings(const core::Json& old_settings, const core::Json& new_settings,
                                            const std::vector<std::string>& harmless);

}  // namespace microdit::train

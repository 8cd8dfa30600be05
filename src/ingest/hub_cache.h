// The cache that the hub's own tools keep: HF_HOME/hub/{datasets,models}--ORG--NAME/{refs, snapshots, blobs}. Only read.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ingest/sources.h"

namespace microdit::ingest {

struct HubPlace;

class HubCache {
 public:
  /// HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub.
  explicit HubCache(const HubPlace& hub);

  const std::filesystem::path& folder() const { return folder_; }
  /// The commit that a revision (a branch, a tag, a commit) stands for here; nothing when it is not here.
  std::optional<std::string> commit_of(const std::string& revision) const;
  /// All files of a commit that are here.
  std::vector<HubFile> files(const std::string& commit) const;
  /// Sets `lies` where a file is here with the listed size.
  void find(HubFile& file) const;

 private:
  std::filesystem::path folder_;
};

/// A path of a listing: relative, without "..", not hidden from a terminal by control characters.
bool is_safe_path(const std::string& path);
bool is_commit(const std::string& text);

}  // namespace microdit::ingest

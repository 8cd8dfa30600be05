// A folder is known by what lies in it, never by its name.
#include "doctor_folders.h"

#include <algorithm>

#include "checkpoint/checkpoint.h"
#include "core/error.h"
#include "stream/mds_verify.h"

namespace microdit::jobs {
namespace {

namespace fs = std::filesystem;

// data/latents/NAME/RECIPE is four below data's parent.
constexpr int kLevels = 4;

std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory() && !entry.path().filename().string().starts_with('.'))
      folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

bool is_checkpoint(const fs::path& folder) {
  return checkpoint::step_of(folder.filename().string()).has_value();
}

/// A run has facts.json too, and images/ a manifest.jsonl; only a stage has records or shards beside them.
bool is_stage(const fs::path& folder) {
  if (fs::is_directory(folder / "checkpoints")) return false;
  if (fs::is_directory(folder / "records")) return true;
  if (!fs::exists(folder / "facts.json") && !fs::exists(folder / "manifest.jsonl")) return false;
  return std::any_of(fs::directory_iterator(folder), fs::directory_iterator(),
                     [](const auto& entry) { return entry.path().extension() == ".h5"; });
}

/// `levels`: how many more folders deep to look.
void collect(const fs::path& folder, int levels, std::vector<StoredFolder>& found) {
  if (is_checkpoint(folder)) return found.push_back({folder, Stored::checkpoint});
  if (is_stage(folder)) return found.push_back({folder, Stored::stage});
  const fs::path checkpoints = folder / "checkpoints";
  if (fs::is_directory(checkpoints)) return collect(checkpoints, 1, found);
  // A checkpoint that was copied under another name still has its manifest.
  if (fs::exists(folder / "manifest.json")) return found.push_back({folder, Stored::checkpoint});
  if (stream::is_mds_folder(folder)) return found.push_back({folder, Stored::mds});
  if (levels == 0) return;
  for (const fs::path& below : folders_in(folder)) collect(below, levels - 1, found);
}

}  // namespace

std::vector<StoredFolder> find_stored(const std::string& command, const std::string& where) {
  fs::path folder = fs::path(where).lexically_normal();
  if (folder.filename().empty()) folder = folder.parent_path();  // a slash at the end
  if (!fs::is_directory(folder)) core::user_error("doctor: {} {}: no such folder", command, where);
  std::vector<StoredFolder> found;
  collect(folder == "." ? fs::current_path() : folder, kLevels, found);
  return found;
}

}  // namespace microdit::jobs

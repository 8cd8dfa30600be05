// The renames that publish and remove checkpoints.
#include "checkpoint/publication.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/inspect.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"

namespace microdit::checkpoint {
namespace {

namespace fs = std::filesystem;

/// ".<name>.<generation>x<random>.tmp"; the random part tells apart two writers of one process.
fs::path hidden_path(const fs::path& folder, const std::string& name) {
  return folder / fmt::format(".{}.{}x{:08x}.tmp", name, core::generation(), std::random_device{}());
}

bool is_hidden_name(const std::string& name) {
  return (name.starts_with(".step_") || name.starts_with(".stale.")) && name.ends_with(".tmp");
}

}  // namespace

fs::path make_hidden(const fs::path& folder, std::int64_t step) {
  const fs::path hidden = hidden_path(folder, step_name(step));
  std::error_code error;
  if (!fs::create_directory(hidden, error)) {
    core::system_error("{}: cannot be created: {}", hidden.string(), error ? error.message() : "it exists");
  }
  return hidden;
}

void remove_stale(const fs::path& folder) {
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (is_hidden_name(entry.path().filename().string())) stale.push_back(entry.path());
  }
  for (const fs::path& path : stale) {
    core::log_info("removing {}, left by an earlier life", path.string());
    discard(path);
  }
}

void discard(const fs::path& folder) {
  const fs::path aside = hidden_path(folder.parent_path(), "stale");
  if (std::rename(folder.c_str(), aside.c_str()) != 0) {
    if (errno == ENOENT) return;
    core::system_error("{}: cannot be renamed to remove it: {}", folder.string(), std::strerror(errno));
  }
  std::error_code error;
  fs::remove_all(aside, error);
  if (error) core::log_warn("{}: could not be removed: {}", aside.string(), error.message());
}

bool publish_folder(const fs::path& hidden, const fs::path& visible) {
  core::sync_folder(hidden);
  // Another life may put its own there between the steps: a few rounds settle it.
  for (int round = 0; round < 5; ++round) {
    if (std::rename(hidden.c_str(), visible.c_str()) == 0) {
      core::sync_folder(visible.parent_path());
      return true;
    }
    const int reason = errno;
    if (reason != EEXIST && reason != ENOTEMPTY) {
      core::system_error("{}: cannot be renamed to {}: {}{}", hidden.string(), visible.filename().string(),
                         std::strerror(reason),
                         reason == ENOENT ? " (a later life of this run removed it)" : "");
    }
    const std::vector<std::string> damage = inspect(visible, Depth::payload).damage;
    if (damage.empty()) {
      core::log_info("{} is there already and verifies: it stays", visible.string());
      discard(hidden);
      return false;
    }
    core::log_warn("{} is there already and damaged ({}): it is replaced", visible.string(), damage.front());
    discard(visible);
  }
  core::system_error("{}: another process keeps writing it; is the run started twice?", visible.string());
}

void retain(const fs::path& folder, std::int64_t newest, const Retention& retention,
            std::set<std::int64_t>& known_good) {
  known_good.insert(newest);
  if (retention.keep_last <= 0) return;
  std::int64_t kept = 0;
  for (const std::int64_t step : list_steps(folder)) {
    // Newer than what this life has just written: an orphan's, or one that was walked back over. Not ours to
    // judge.
    if (step > newest) continue;
    const fs::path path = folder / step_name(step);
    if (kept < retention.keep_last) {
      if (!known_good.contains(step)) {
        if (!inspect(path, Depth::payload).damage.empty()) continue;
        known_good.insert(step);
      }
      ++kept;
    } else if (step != retention.keep_step &&
               (retention.keep_every <= 0 || step % retention.keep_every != 0)) {
      discard(path);
    }
  }
}

}  // namespace microdit::checkpoint

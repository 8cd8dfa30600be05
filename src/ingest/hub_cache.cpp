// The hub's cache on disk: snapshots of links into blobs that are named by their hash.
#include "ingest/hub_cache.h"

#include <algorithm>

#include "core/atomic_file.h"
#include "core/environment.h"
#include "core/error.h"
#include "ingest/hub.h"
#include "ingest/limits.h"
#include "text/strip.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

fs::path cache_root() {
  const std::string home = core::variable("HF_HOME", core::variable("HOME", "/") + "/.cache/huggingface");
  return core::variable("HF_HUB_CACHE", core::variable("HUGGINGFACE_HUB_CACHE", home + "/hub"));
}

std::int64_t size_of(const fs::path& path) {
  std::error_code missing;
  const std::uintmax_t bytes = fs::file_size(path, missing);
  return missing ? -1 : static_cast<std::int64_t>(bytes);
}

}  // namespace

bool is_safe_path(const std::string& path) {
  if (path.empty() || path.front() == '/' || path.size() > limits::kMemberNameBytes) return false;
  if (std::ranges::any_of(path, [](unsigned char c) { return c < 0x20 || c == 0x7f; })) return false;
  return std::ranges::none_of(fs::path(path),
                              [](const fs::path& part) { return part == ".." || part == "."; });
}

bool is_commit(const std::string& text) {
  return is_hex(text, 40);
}

HubCache::HubCache(const HubPlace& hub) {
  std::string name = (hub.of_models ? "models--" : "datasets--") + hub.repository;
  const std::size_t slash = name.find('/');
  if (slash != std::string::npos) name.replace(slash, 1, "--");
  folder_ = cache_root() / name;
}

std::optional<std::string> HubCache::commit_of(const std::string& revision) const {
  if (is_commit(revision)) return revision;
  const fs::path file = folder_ / "refs" / revision;
  std::error_code missing;
  if (!is_safe_path(revision) || !fs::is_regular_file(file, missing)) return std::nullopt;
  const std::string text = core::read_text(file);
  const std::string commit(text::strip(text));
  if (!is_commit(commit)) core::user_error("{}: '{}' is no commit", file.string(), commit.substr(0, 80));
  return commit;
}

std::vector<HubFile> HubCache::files(const std::string& commit) const {
  const fs::path snapshot = folder_ / "snapshots" / commit;
  if (!fs::is_directory(snapshot))
    core::user_error("{}: no such folder: this commit is not in the cache", snapshot.string());
  std::vector<HubFile> files;
  for (const auto& entry : fs::recursive_directory_iterator(snapshot)) {
    if (!entry.is_regular_file()) continue;
    HubFile file{.path = entry.path().lexically_relative(snapshot).string(), .commit = commit};
    file.bytes = static_cast<std::int64_t>(entry.file_size());
    file.lies = fs::canonical(entry.path());
    const std::string blob = file.lies.filename().string();
    if (is_hex(blob, 64)) file.sha256 = blob;
    files.push_back(std::move(file));
  }
  return files;
}

void HubCache::find(HubFile& file) const {
  std::vector<fs::path> places;
  if (is_hex(file.sha256, 64)) places.push_back(folder_ / "blobs" / file.sha256);
  if (is_safe_path(file.path)) places.push_back(folder_ / "snapshots" / file.commit / file.path);
  for (const fs::path& place : places) {
    if (file.bytes < 0 || size_of(place) != file.bytes) continue;
    file.lies = fs::canonical(place);
    return;
  }
}

}  // namespace microdit::ingest

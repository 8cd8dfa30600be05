// doctor verify: finds what carries checksums at and below a folder, and checks it all.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "checkpoint/checkpoint.h"
#include "core/error.h"
#include "doctor.h"
#include "store/manifest.h"
#include "stream/mds_verify.h"

namespace microdit::jobs {
namespace {

namespace fs = std::filesystem;

enum class Kind { stage, checkpoint, mds };

struct Target {
  fs::path folder;
  Kind kind = Kind::stage;
};

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

/// `levels`: how many more folders deep to look. data/latents/NAME/RECIPE is four below data's parent.
void collect(const fs::path& folder, int levels, std::vector<Target>& targets) {
  if (is_checkpoint(folder)) return targets.push_back({folder, Kind::checkpoint});
  if (is_stage(folder)) return targets.push_back({folder, Kind::stage});
  const fs::path checkpoints = folder / "checkpoints";
  if (fs::is_directory(checkpoints)) return collect(checkpoints, 1, targets);
  // A checkpoint that was copied under another name still has its manifest.
  if (fs::exists(folder / "manifest.json")) return targets.push_back({folder, Kind::checkpoint});
  if (stream::is_mds_folder(folder)) return targets.push_back({folder, Kind::mds});
  if (levels == 0) return;
  for (const fs::path& below : folders_in(folder)) collect(below, levels - 1, targets);
}

/// One line per damage, "FOLDER/FILE: what".
std::string check(const Target& target) {
  std::string lines;
  try {
    if (target.kind == Kind::checkpoint) {
      for (const std::string& damage : checkpoint::verify(target.folder)) {
        lines += fmt::format("{}\n", (target.folder / damage).string());
      }
    } else {
      const auto verify = target.kind == Kind::mds ? stream::verify_mds : store::verify;
      for (const store::Damage& damage : verify(target.folder)) {
        lines += fmt::format("{}: {}\n", (target.folder / damage.file).string(), damage.what);
      }
    }
  } catch (const std::exception& error) {
    lines += fmt::format("{}: {}\n", target.folder.string(), error.what());
  }
  return lines;
}

}  // namespace

int verify_tree(const std::string& where, comm::Communicator& comm) {
  fs::path folder = fs::path(where).lexically_normal();
  if (folder.filename().empty()) folder = folder.parent_path();  // a slash at the end
  if (!fs::is_directory(folder)) core::user_error("doctor: verify {}: no such folder", where);
  std::vector<Target> targets;
  collect(folder == "." ? fs::current_path() : folder, 4, targets);
  if (targets.empty()) {
    core::user_error(
        "doctor: verify {}: nothing in it carries checksums; name a folder of raw, samples or latents, a "
        "checkpoint, a run, or a folder of these",
        where);
  }
  std::string lines;
  const auto ranks = static_cast<std::size_t>(comm.size());
  for (std::size_t i = static_cast<std::size_t>(comm.rank()); i < targets.size(); i += ranks)
    lines += check(targets[i]);
  const std::vector<std::string> all = comm.all_gather(lines);
  const bool good = std::all_of(all.begin(), all.end(), [](const std::string& text) { return text.empty(); });
  if (comm.rank() == 0) {
    for (const std::string& text : all) fmt::print("{}", text);
    const auto count = [&](Kind kind) {
      return std::count_if(targets.begin(), targets.end(), [=](const Target& t) { return t.kind == kind; });
    };
    const auto mds = count(Kind::mds);
    fmt::print("{}: {} stage folders, {} checkpoints{}: {}\n", where, count(Kind::stage),
               count(Kind::checkpoint), mds > 0 ? fmt::format(", {} MDS folders", mds) : "",
               good ? "good" : "DAMAGED");
    std::fflush(stdout);
  }
  comm.barrier();  // a rank that exits with 1 makes the launcher end the others: the report comes first
  return good ? core::kDone : core::kFailed;
}

}  // namespace microdit::jobs

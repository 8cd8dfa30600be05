// Shared ground of the stages: idempotent starts and ends.
#include "ingest/work.h"

#include <algorithm>
#include <system_error>

#include "core/atomic_file.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/log.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

constexpr double kLongestShare_s = 7 * 24 * 3600;

/// The final name of ".<name>.<generation>.tmp"; empty when `file` is no temporary.
std::string_view final_name(std::string_view file) {
  if (!file.starts_with('.') || !file.ends_with(".tmp")) return {};
  file = file.substr(1, file.size() - 5);
  return file.substr(0, file.rfind('.'));
}

bool all_digits(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

void remove_own_temporaries(const fs::path& folder, const std::function<bool(std::string_view)>& is_own) {
  for (const fs::path& place : {folder, folder / "records"}) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(place, error)) {
      const std::string file = entry.path().filename().string();
      const std::string_view name = final_name(file);
      if (!name.empty() && is_own(name) && core::is_abandoned(entry.path()))
        fs::remove_all(entry.path(), error);
    }
  }
}

bool item_of_file(std::string_view name, std::string& item) {
  if (name.ends_with(".json")) {
    item = name.substr(0, name.size() - 5);
    return true;
  }
  if (!name.ends_with(".h5") || name.size() < 10) return false;
  const std::string_view stem = name.substr(0, name.size() - 3);
  if (stem[stem.size() - 6] != '-' || !all_digits(stem.substr(stem.size() - 5))) return false;
  item = stem.substr(0, stem.size() - 6);
  return true;
}

bool is_complete(const fs::path& folder, std::string_view stage) {
  if (fs::exists(folder / "manifest.jsonl")) return true;
  fmt::print("{} is not complete yet: {} makes it (build/bin/{} or slurm/{}.sbatch with the same --config)\n",
             folder.string(), stage, stage, stage);
  return false;
}

void describe_space(const fs::path& folder) {
  const core::Space space = core::require_space(folder, "MICRODIT_DATA");
  fmt::print("{}: {} and {} files are free at {}\n", folder.string(), core::bytes_text(space.bytes),
             space.inodes, space.at.string());
}

int finish_stage(store::StageFolder& folder, std::string_view stage, bool stopped, comm::Communicator& comm) {
  const comm::WiderDeadline others_may_have_longer_shares(comm, kLongestShare_s);
  if (comm.any(stopped)) {
    core::log_info("{}: stopped as asked; the same command continues", stage);
    return core::kRequeueMe;
  }
  bool complete = false;
  try {
    complete = folder.finish_if_complete();
  } catch (const core::SystemError&) {
    // Another slot finished at the same moment and cleared our aside copy away: then the manifest is there.
    if (!fs::exists(folder.path() / "manifest.jsonl")) throw;
    complete = true;
  }
  if (complete) remove_own_temporaries(folder.path(), [](std::string_view) { return true; });
  comm.barrier();
  if (complete) {
    core::log_info("{}: {} is complete", stage, folder.path().string());
  } else {
    core::log_info("{}: this share is done; {} waits for other tasks", stage, folder.path().string());
  }
  return core::kDone;
}

}  // namespace microdit::ingest

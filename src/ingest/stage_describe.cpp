// What dry runs of all stages say.
#include <fmt/format.h>

#include "core/disk.h"
#include "ingest/stage_driver.h"

namespace microdit::ingest {

namespace fs = std::filesystem;

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

}  // namespace microdit::ingest

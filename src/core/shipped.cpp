// From the program's own place upwards.
#include "core/shipped.h"

#include <algorithm>
#include <system_error>

namespace microdit::core {

namespace fs = std::filesystem;

fs::path program_folder() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

std::vector<fs::path> homes() {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::path at = program_folder(); at.has_relative_path(); at = at.parent_path()) {
    found.push_back(at);
    found.push_back(at / "share/microdit");
  }
  found.push_back(fs::current_path(error));
  return found;
}

fs::path shipped(const fs::path& named) {
  std::error_code error;
  if (named.empty() || named.is_absolute() || fs::exists(named, error)) return named;
  if (*named.begin() != "configs" && *named.begin() != "assets") return named;
  for (const fs::path& home : homes())
    if (fs::exists(home / named, error)) return home / named;
  return named;
}

std::vector<std::string> config_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace microdit::core

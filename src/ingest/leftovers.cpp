// Whose a temporary is, its name tells; whether anybody writes it still, core knows.
#include "ingest/leftovers.h"

#include <string>
#include <system_error>

#include "core/atomic_file.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

/// The final name of ".<name>.<generation>.tmp"; empty when `file` is no temporary.
std::string_view final_name(std::string_view file) {
  if (!file.starts_with('.') || !file.ends_with(".tmp")) return {};
  file = file.substr(1, file.size() - 5);
  return file.substr(0, file.rfind('.'));
}

}  // namespace

bool belongs_to(std::string_view file, const IsOwn& is_own) {
  if (is_own(file)) return true;
  for (const std::string_view ending : {".h5", ".failed.json", ".part.json", ".json"}) {
    if (!file.ends_with(ending)) continue;
    const std::string_view stem = file.substr(0, file.size() - ending.size());
    if (is_own(stem)) return true;
    const std::size_t dash = stem.rfind('-');
    if (dash != std::string_view::npos && is_own(stem.substr(0, dash))) return true;
  }
  return false;
}

void remove_temporaries(const fs::path& folder, const IsOwn& is_own) {
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

}  // namespace microdit::ingest

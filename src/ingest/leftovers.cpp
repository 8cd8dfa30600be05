// Whose a temporary is, its name tells; whether anybody writes it still, core knows.
#include "ingest/leftovers.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
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

/// The partial file that ".<name>.part" or ".<name>.part.etag" is or belongs to; empty when `file` is neither.
std::string_view partial_name(std::string_view file) {
  if (file.ends_with(".etag")) file.remove_suffix(5);
  return file.starts_with('.') && file.ends_with(".part") ? file : std::string_view();
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

void remove_partial_files(const fs::path& folder, const IsOwn& is_kept) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string file = entry.path().filename().string();
    const std::string_view name = partial_name(file);
    if (name.empty() || is_kept(name.substr(1, name.rfind('.') - 1))) continue;
    const fs::path partial = folder / name;
    const int fd = ::open(partial.c_str(), O_RDWR | O_CLOEXEC);  // whoever writes it holds its lock
    const bool is_free = fd < 0 ? errno == ENOENT : ::flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (is_free) {
      fs::remove(fs::path(partial) += ".etag", error);
      fs::remove(partial, error);
    }
    if (fd >= 0) ::close(fd);
  }
}

}  // namespace microdit::ingest

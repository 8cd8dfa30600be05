// Questions to the file system.
#include "core/disk.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "core/error.h"

namespace microdit::core {

namespace fs = std::filesystem;

std::optional<std::uint64_t> input_bytes(const fs::path& file) {
  struct stat about {};
  if (::stat(file.c_str(), &about) == 0)
    return S_ISREG(about.st_mode) ? std::optional<std::uint64_t>(about.st_size) : std::nullopt;
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  input_error(errno, "{}: cannot be read", file.string());
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    found.push_back(entry->path());
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory)
    input_error(error.value(), "{}: cannot be listed", folder.string());
  std::sort(found.begin(), found.end());
  return found;
}

Space free_space(const fs::path& folder) {
  fs::path at = fs::absolute(folder);
  while (!fs::exists(at) && at.has_parent_path() && at != at.parent_path()) at = at.parent_path();
  struct statvfs about {};
  if (::statvfs(at.c_str(), &about) != 0)
    errno_error(errno, "{}: cannot be asked for its free space", at.string());
  const std::uint64_t inodes =
      about.f_files == 0 ? std::numeric_limits<std::uint64_t>::max() : std::uint64_t{about.f_favail};
  return {at, std::uint64_t{about.f_bavail} * about.f_frsize, inodes};
}

Space require_space(const fs::path& folder, const std::string& key, std::uint64_t bytes) {
  const Space space = free_space(folder);
  if (!fs::is_directory(space.at))
    user_error("{}={}: {} is a file, a folder is needed", key, folder.string(), space.at.string());
  if (::access(space.at.c_str(), W_OK | X_OK) != 0)
    user_error("{}={}: {} cannot be written", key, folder.string(), space.at.string());
  if (space.bytes < bytes) {
    user_error("{}={}: {} are free there, {} are needed", key, folder.string(), bytes_text(space.bytes),
               bytes_text(bytes));
  }
  return space;
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 6> kUnits{"B", "kB", "MB", "GB", "TB", "PB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, unit == 0 ? 0 : 1, kUnits[unit]);
}

}  // namespace microdit::core

// Whether a folder that does not exist yet could be made and filled: asked by dry runs, which write nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace microdit::core {

struct Space {
  std::filesystem::path at;  ///< the nearest folder that exists
  std::uint64_t bytes = 0;   ///< free for this user
  std::uint64_t inodes = 0;  ///< likewise; the largest number where the file system does not count them
};

Space free_space(const std::filesystem::path& folder);

/// UserError (with `key`, the setting that names the folder) when it could not be made or written, or lacks `bytes`.
/// Returns what there is.
Space require_space(const std::filesystem::path& folder, const std::string& key, std::uint64_t bytes = 0);

/// "18.7 GB".
std::string bytes_text(std::uint64_t bytes);

}  // namespace microdit::core

// What is there: files that something is made from; room for a folder that does not exist yet (dry runs ask, and write nothing).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace microdit::core {

/// Bytes of a file; nothing where no regular file lies. "Missing" is said of what is missing alone: any other error is
/// input_error's (InputFault of EIO, ESTALE and their like).
std::optional<std::uint64_t> input_bytes(const std::filesystem::path& file);

/// What lies in a folder, by name; nothing where there is no folder. "Missing" as above: a file system that fails for a moment does
/// not read as an empty folder.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder);

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

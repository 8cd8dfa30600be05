// A file that the user named for a result.
#pragma once

#include <unistd.h>

#include <filesystem>

#include "core/error.h"

namespace microdit::jobs {

/// UserError when no file can be made there: known before the work, not after it.
inline void check_output(const std::filesystem::path& file) {
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error))
    core::user_error("--output {}: {} is no folder; name one that is there", file.string(), folder.string());
  if (::access(folder.c_str(), W_OK) != 0)
    core::user_error("--output {}: no file can be made in {}", file.string(), folder.string());
}

}  // namespace microdit::jobs

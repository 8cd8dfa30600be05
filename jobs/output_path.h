// A file that the user named for a result.
#pragma once

#include <unistd.h>

#include <filesystem>

#include "core/atomic_file.h"
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

/// A file is to be made there: known before the work. What a killed convert left of it goes.
inline void check_new_file(const std::filesystem::path& input, const std::filesystem::path& output,
                           bool overwrite) {
  check_output(output);
  std::error_code none;
  if (std::filesystem::equivalent(input, output, none))
    core::user_error("convert: --output {} is the input itself; name another file", output.string());
  if (std::filesystem::exists(output) && !overwrite)
    core::user_error(
        "convert: --output {} is there already; remove it, name another file, or say overwrite=true",
        output.string());
  core::remove_stale_temporaries_of(output);
}

}  // namespace microdit::jobs

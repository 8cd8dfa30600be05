// SHA-256 of weight files, computed once per file and kept.
#pragma once

#include <filesystem>
#include <string>

#include "core/stop_flag.h"

namespace microdit::encoders {

/// Beside the file; and where that folder cannot be written, below MICRODIT_DATA/weights, by whole path.
inline constexpr const char* kHashFile = ".microdit_sha256.json";
inline constexpr const char* kHashFileOfOthers = ".microdit_sha256_of_others.json";

/// As kept in one of the two while the file is what it was (size, times of change, inode), else computed and kept. Throws
/// core::Stopped when `stop` is seen before it is known.
std::string weights_sha256(const std::filesystem::path& file, const core::StopFlag& stop = core::StopFlag());

}  // namespace microdit::encoders

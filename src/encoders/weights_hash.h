// SHA-256 of weight files, computed once per file and kept beside it.
#pragma once

#include <filesystem>
#include <string>

namespace microdit::encoders {

inline constexpr const char* kHashFile = ".microdit_sha256.json";

/// From kHashFile in the file's folder where size and time of change are still what they were, else computed and kept
/// there; a folder that cannot be written is simply hashed each time.
std::string weights_sha256(const std::filesystem::path& file);

}  // namespace microdit::encoders

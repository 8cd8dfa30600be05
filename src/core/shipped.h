// Files that come with the programs: configs/ and assets/ of the repository or of the installation.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace microdit::core {

/// Where this program lies.
std::filesystem::path program_folder();

/// The folders above the program, nearest first, then the one it was started in: the repository or the installation that
/// holds assets/ and configs/ is one of them.
std::vector<std::filesystem::path> homes();

/// `named`; where that is not there and begins with configs/ or assets/, the file of that name that came with the program, so
/// that commands are the same in any folder.
std::filesystem::path shipped(const std::filesystem::path& named);

/// Names of the .yaml files in `folder`, sorted; none where there is no such folder.
std::vector<std::string> config_names(const std::filesystem::path& folder);

}  // namespace microdit::core

// Where one call of generate or evaluate puts what it makes: a folder of its own, found again by the same call.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"

namespace microdit::eval {

/// The folder for `call` (all that its results depend on): in `home` the one that an equal call made,
/// else a new one, NNN-name. `make` = false: says which it would be.
std::filesystem::path call_folder(const std::filesystem::path& home, const std::string& name,
                                  const core::Json& call, bool make);

/// The folders of calls in `home`, oldest first.
std::vector<std::filesystem::path> call_folders(const std::filesystem::path& home);

/// The same for a folder that the user named: empty or missing, or of an equal call. UserError when it holds
/// anything else.
void check_named_folder(const std::filesystem::path& folder, const core::Json& call, bool make);

/// home/latest -> the folder.
void point_latest(const std::filesystem::path& home, const std::filesystem::path& folder);

/// At most 40 lower-case letters, digits and dashes of a prompt.
std::string slug(const std::string& prompt);

}  // namespace microdit::eval

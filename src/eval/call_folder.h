// Where one call of generate puts its pictures: a folder of its own, found again by the same call.
#pragma once

#include <filesystem>
#include <string>

#include "core/json.h"

namespace microdit::eval {

/// The folder for `call` (all that its pictures depend on): under `images` the one that an equal call made,
/// else a new one, NNN-slug. `make` = false: says which it would be.
std::filesystem::path call_folder(const std::filesystem::path& images, const std::string& first_prompt,
                                  const core::Json& call, bool make);

/// The same for a folder that the user named: empty or missing, or of an equal call. UserError when it holds
/// anything else.
void check_named_folder(const std::filesystem::path& folder, const core::Json& call, bool make);

/// images/latest -> the folder.
void point_latest(const std::filesystem::path& images, const std::filesystem::path& folder);

/// At most 40 lower-case letters, digits and dashes of a prompt.
std::string slug(const std::string& prompt);

}  // namespace microdit::eval

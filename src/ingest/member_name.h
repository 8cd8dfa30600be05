// Names of members of foreign archives: which are safe, which are passed over, how they are shown.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace microdit::ingest {

/// A name that is not used as such, for messages: short, without control characters, '/' for '\\'.
std::string printable(std::string_view name);
/// The member's name as a relative path, "./" removed; nothing when it would leave its folder or is no text.
std::optional<std::string> safe_name(std::string_view name);
/// An unsafe name's components, whatever they are separated by.
std::string slashed(std::string_view name);
/// What file managers of a Mac add, and hidden files: beside every picture there may be one with its name.
bool is_passed_over(std::string_view name);

}  // namespace microdit::ingest

// What the surroundings say of this process: variables and its host.
#pragma once

#include <string>

namespace microdit::core {

/// An environment variable, or `otherwise` when it is unset or empty.
std::string variable(const char* name, const std::string& otherwise = "");

/// As the system names it; "unknown" when it cannot.
std::string host_name();

/// Tells a running machine from every other one, even where their names are equal; "" where it is not told.
std::string boot_id();

}  // namespace microdit::core

// What of foreign text may stand in a log: names of members, headers of servers, values of settings.
#pragma once

#include <string>
#include <string_view>

namespace microdit::core {

/// Control characters (C0 but tab and line feed, DEL, C1) as \xNN. A line after a line feed begins with at least two blanks,
/// so that none can pass for a log line of its own.
std::string without_controls(std::string_view text);

/// Every "scheme://..." in it without user name, query and fragment, which may carry secrets: "?..." stands for them.
std::string without_secrets(std::string_view text);

}  // namespace microdit::core

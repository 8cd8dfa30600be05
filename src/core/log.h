// Log lines to stderr: rank 0 speaks, other ranks only warn and fail.
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace microdit::core {

enum class LogLevel { debug, info, warn, error };

/// Starts logging for this process; before it, lines go out without a rank. `rank` > 0 mutes info and debug.
void start_log(int rank, LogLevel level = LogLevel::info);
/// One write. Control characters are escaped, further lines of the message indented, addresses shown without what may
/// be secret (shown_text.h): a message may quote whatever came from outside.
void log_line(LogLevel level, std::string_view message);

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warn(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::warn, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace microdit::core

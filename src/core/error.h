// The two kinds of failure: what the user can mend, and what is ours.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace microdit::core {

/// The user's mistake or input: the job prints the message (file, key, value, what to do) and exits 2.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Something outside the user's doing failed (disk full, I/O error, lost peer): exit 1.
class SystemError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws UserError with a formatted message.
template <class... Args>
[[noreturn]] void user_error(fmt::format_string<Args...> format, Args&&... args) {
  throw UserError(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws SystemError with a formatted message.
template <class... Args>
[[noreturn]] void system_error(fmt::format_string<Args...> format, Args&&... args) {
  throw SystemError(fmt::format(format, std::forward<Args>(args)...));
}

/// Checks one of our own invariants; a failure is a bug of ours (std::logic_error, exit 1).
template <class... Args>
void check(bool holds, fmt::format_string<Args...> format, Args&&... args) {
  if (!holds) throw std::logic_error("bug: " + fmt::format(format, std::forward<Args>(args)...));
}

/// Exit codes of every job (design section 6).
enum ExitCode : int { kDone = 0, kFailed = 1, kUserMistake = 2, kRequeueMe = 75, kHardwareFault = 76 };

}  // namespace microdit::core

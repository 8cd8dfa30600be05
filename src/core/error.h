// The kinds of failure: what the user can mend, what another node would mend, and what is ours.
#pragma once

#include <fmt/format.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>

namespace microdit::core {

/// The user's mistake or input: the job prints the message (file, key, value, what to do) and exits 2.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Something outside the user's doing failed (disk full, a server that refuses): exit 1.
class SystemError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Hardware or communication failed (CUDA but not out of memory, NCCL, MPI, EIO, ESTALE, ETIMEDOUT): exit 76, and
/// the job scripts start the job again on other nodes. Never a verdict on what was being read or written.
class FaultError : public SystemError {
 public:
  using SystemError::SystemError;
};

/// A fault met while reading what one piece of work is made from: other pieces may be sound.
class InputFault : public FaultError {
 public:
  using FaultError::FaultError;
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

/// Throws FaultError with a formatted message.
template <class... Args>
[[noreturn]] void fault_error(fmt::format_string<Args...> format, Args&&... args) {
  throw FaultError(fmt::format(format, std::forward<Args>(args)...));
}

/// Whether an errno value says that a device or a connection failed, not that a file is wrong.
bool is_fault(int error_number);

/// "<what>: <text of error_number>" as FaultError where is_fault(), as SystemError else.
[[noreturn]] void throw_errno(int error_number, const std::string& what);
[[noreturn]] void throw_input_errno(int error_number, const std::string& what);
template <class... Args>
[[noreturn]] void errno_error(int error_number, fmt::format_string<Args...> format, Args&&... args) {
  throw_errno(error_number, fmt::format(format, std::forward<Args>(args)...));
}

/// The same of an input: InputFault where is_fault(), UserError where the path is wrong or may not be
/// read, SystemError else.
template <class... Args>
[[noreturn]] void input_error(int error_number, fmt::format_string<Args...> format, Args&&... args) {
  throw_input_errno(error_number, fmt::format(format, std::forward<Args>(args)...));
}

/// What `read()` returns. It reads back what this process has just written: a fault in it is no input's, and what is wrong
/// with it no mistake of the user's (SystemError).
template <class Read>
decltype(auto) read_back(Read&& read) {
  try {
    return read();
  } catch (const InputFault& fault) {
    throw FaultError(fault.what());
  } catch (const UserError& wrong) {
    throw SystemError(wrong.what());
  }
}

/// Checks one of our own invariants; a failure is a bug of ours (std::logic_error, exit 1).
template <class... Args>
void check(bool holds, fmt::format_string<Args...> format, Args&&... args) {
  if (!holds) throw std::logic_error("bug: " + fmt::format(format, std::forward<Args>(args)...));
}

/// Exit codes of every job (design section 6).
enum ExitCode : int { kDone = 0, kFailed = 1, kUserMistake = 2, kRequeueMe = 75, kHardwareFault = 76 };

/// What an exception means for the job, and how to say it.
struct Verdict {
  int exit_code = kFailed;
  std::string message{};
};
/// A std::filesystem error is judged by its code: a fault, the user's path, or a failure.
Verdict judge(const std::exception& error);

/// An exception as text and back, so that what fails on one rank fails alike on all: user's mistakes stay user's
/// mistakes, faults stay faults. `where` is put before the message ("rank 3: ").
std::string error_to_text(const std::exception& error, std::string_view where = "");
[[noreturn]] void throw_from_text(const std::string& text);

}  // namespace microdit::core

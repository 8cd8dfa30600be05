// A refusal in a process of its own, so that what it costs can be told.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "tables/scratch.h"

namespace microdit::tables {

inline constexpr long kMostMiB = 256;
inline constexpr long kMostSeconds = 20;  ///< of CPU

/// The message of the UserError that `run` ends with, "" when it ends well. A test failure where it ends otherwise, or takes more
/// than kMostMiB or kMostSeconds.
inline std::string refusal_in_bounds(const std::function<void()>& run) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    const itimerval most{.it_interval = {}, .it_value = {.tv_sec = kMostSeconds, .tv_usec = 0}};
    ::setitimer(ITIMER_PROF, &most, nullptr);
    int code = 3;
    std::string message;
    try {
      run();
      code = 0;
    } catch (const core::UserError& error) {
      message = error.what();
      code = 0;
    } catch (const std::exception& error) {
      message = error.what();
    } catch (...) {
      message = "something else was thrown";
    }
    message.resize(std::min<std::size_t>(message.size(), 4000));
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    if (used.ru_maxrss > kMostMiB * 1024) code = 4;
    const bool wrote =
        ::write(ends[1], message.data(), message.size()) == static_cast<ssize_t>(message.size());
    ::_exit(wrote ? code : 5);
  }
  ::close(ends[1]);
  std::string message(4096, '\0');
  const ssize_t got = ::read(ends[0], message.data(), message.size());
  ::close(ends[0]);
  message.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << (WIFSIGNALED(status) ? "signal " : "exit ")
      << (WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status))
      << " (3: another error, 4: too much memory): " << message;
  return message;
}

}  // namespace microdit::tables

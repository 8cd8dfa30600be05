// Other programs: asked for their answer, or started as the ranks and watched.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace microdit::lives {

using Words = std::vector<std::string>;

/// As a shell splits an unquoted variable.
Words split_words(const std::string& text);
Words operator+(Words left, const Words& right);
/// For messages: quoted where a shell needs it.
std::string shell_line(const Words& words);

struct Answer {
  int exit_code = 0;  ///< 128 + signal when one ended it; 127 when there is no such program
  std::string output{};
  std::string errors{};
  bool timed_out = false;
};

enum class Errors { kept, shown };

/// Runs a program to its end. `errors`: kept in the answer, or left to go where ours go. After `timeout` it
/// is killed. SIGTERM and SIGUSR1 stay blocked in it where they are in us: a job that is being ended must
/// still be able to ask.
Answer ask(const Words& command, std::chrono::seconds timeout, Errors errors = Errors::kept);

/// Blocks SIGUSR1, SIGTERM and SIGCHLD in this process: from now on watch() takes them.
void take_signals();

struct Watched {
  int exit_code = 0;            ///< as of Answer
  bool stop_was_asked = false;  ///< by either signal
  bool was_terminated = false;  ///< by SIGTERM: the job may be on its way out
  bool was_overdue = false;     ///< it did not end in time, and was killed
};

/// How long a command that was asked to stop may take.
struct Grace {
  std::chrono::seconds after_stop{0};      ///< 0: as long as it likes
  std::function<bool()> is_out_of_time{};  ///< asked at a SIGTERM: yes leaves no time at all
};

/// Starts `command` and waits for it; needs take_signals(). Either signal reaches it as SIGUSR1: srun and
/// mpirun hand that to every rank once, whereas SIGTERM makes mpirun kill them. `is_launcher`: it listens to
/// SIGUSR1; a rank of ours has it blocked until it does.
Watched watch(const Words& command, bool is_launcher, const Grace& grace = {});

/// Whether a SIGTERM waits to be taken.
bool termination_is_pending();

/// Becomes `program` with SIGUSR1 and SIGTERM blocked, so that one that comes while the program is being
/// loaded waits for it (core/stop_flag.h) instead of ending it. First creates the file `mark`, unless empty.
/// Returns only when that fails: the exit code.
int become_rank(const Words& program, const std::string& mark);

}  // namespace microdit::lives

// fork, exec, wait; signals are taken synchronously, never by a handler.
#include "lives/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/shell_line.h"
#include "lives/surroundings.h"

namespace microdit::lives {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kToDie{5};  // of a launcher, before SIGKILL

sigset_t signals(std::initializer_list<int> numbers) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : numbers) sigaddset(&set, number);
  return set;
}

void mask(int how, std::initializer_list<int> numbers) {
  const sigset_t set = signals(numbers);
  core::check(::sigprocmask(how, &set, nullptr) == 0, "sigprocmask failed");
}

/// Only returns when there is no such program.
void exec(const Words& command) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::execvp(words[0], words.data());
}

[[noreturn]] void exec_or_exit(const Words& command) {
  exec(command);
  const int error = errno;
  const std::string line = fmt::format("{}: cannot be started: {}\n", command[0], std::strerror(error));
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) ::_exit(126);
  ::_exit(error == ENOENT ? 127 : 126);
}

int exit_code_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) core::check(errno == EINTR, "waitpid: {}", std::strerror(errno));
  return exit_code_of(status);
}

struct Pipe {
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) core::errno_error(errno, "pipe");
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(std::size_t i) {
    if (ends[i] >= 0) ::close(std::exchange(ends[i], -1));
  }
  std::array<int, 2> ends{-1, -1};
};

/// Appends what can be read now; closes the pipe at its end.
void drain(Pipe& pipe, std::string& text) {
  std::array<char, 4096> buffer{};
  const ssize_t got = ::read(pipe.ends[0], buffer.data(), buffer.size());
  if (got > 0) text.append(buffer.data(), static_cast<std::size_t>(got));
  if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) pipe.close_end(0);
}

/// Reads both until they end; false when the deadline came first.
bool read_both(Pipe& output, Pipe& errors, Answer& answer, Clock::time_point deadline) {
  while (output.ends[0] >= 0 || errors.ends[0] >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    std::array<pollfd, 2> both{pollfd{output.ends[0], POLLIN, 0}, pollfd{errors.ends[0], POLLIN, 0}};
    ::poll(both.data(), both.size(), static_cast<int>(std::min<std::int64_t>(left, 60'000)));
    if (both[0].revents != 0) drain(output, answer.output);
    if (both[1].revents != 0) drain(errors, answer.errors);
  }
  return true;
}

/// A signal of the set, or 0 at the deadline.
int next_signal(const sigset_t& set, const std::optional<Clock::time_point>& deadline) {
  if (!deadline) {
    int signal = 0;
    return ::sigwait(&set, &signal) == 0 ? signal : SIGCHLD;
  }
  const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(*deadline - Clock::now()).count();
  if (left <= 0) return 0;
  const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
  const int signal = ::sigtimedwait(&set, nullptr, &timeout);
  return signal > 0 ? signal : SIGCHLD;  // looked at once more
}

}  // namespace

Words split_words(const std::string& text) {
  Words words;
  std::size_t begin = 0;
  while ((begin = text.find_first_not_of(" \t\n", begin)) != std::string::npos) {
    const std::size_t end = std::min(text.find_first_of(" \t\n", begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

Words operator+(Words left, const Words& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

std::string shell_line(const Words& words) {
  return core::shell_line(words);
}

Answer ask(const Words& command, std::chrono::seconds timeout, Errors errors) {
  Pipe output;
  Pipe complaints;
  const pid_t child = ::fork();
  if (child < 0) core::errno_error(errno, "{}: fork", command[0]);
  if (child == 0) {
    ::dup2(output.ends[1], STDOUT_FILENO);
    if (errors == Errors::kept) ::dup2(complaints.ends[1], STDERR_FILENO);
    exec_or_exit(command);
  }
  output.close_end(1);
  complaints.close_end(1);
  Answer answer;
  answer.timed_out = !read_both(output, complaints, answer, Clock::now() + timeout);
  if (answer.timed_out) ::kill(child, SIGKILL);
  answer.exit_code = wait_for(child);
  return answer;
}

void take_signals() {
  mask(SIG_BLOCK, {SIGUSR1, SIGTERM, SIGCHLD});
}

Watched watch(const Words& command, bool is_launcher, const Grace& grace) {
  const pid_t child = ::fork();
  if (child < 0) core::errno_error(errno, "{}: fork", command[0]);
  if (child == 0) {
    mask(SIG_UNBLOCK, {SIGCHLD});
    if (is_launcher) mask(SIG_UNBLOCK, {SIGUSR1});
    exec_or_exit(command);
  }
  Watched watched;
  const sigset_t set = signals({SIGUSR1, SIGTERM, SIGCHLD});
  std::optional<Clock::time_point> deadline;
  while (true) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      watched.exit_code = exit_code_of(status);
      return watched;
    }
    const int signal = next_signal(set, deadline);
    if (signal == SIGCHLD) continue;
    if (signal == 0) {  // mpirun takes its ranks along at SIGINT, Slurm those of srun when the job ends
      ::kill(child, std::exchange(watched.was_overdue, true) ? SIGKILL : SIGINT);
      deadline = Clock::now() + kToDie;
      continue;
    }
    watched.stop_was_asked = true;
    watched.was_terminated = watched.was_terminated || signal == SIGTERM;
    ::kill(child, SIGUSR1);
    if (!deadline && grace.after_stop.count() > 0) deadline = Clock::now() + grace.after_stop;
    if (signal == SIGTERM && grace.is_out_of_time && grace.is_out_of_time()) deadline = Clock::now();
  }
}

bool termination_is_pending() {
  sigset_t pending;
  return ::sigpending(&pending) == 0 && sigismember(&pending, SIGTERM) == 1;
}

int become_rank(const Words& program, const std::string& mark) {
  mask(SIG_BLOCK, {SIGUSR1, SIGTERM});
  if (!mark.empty()) {
    const int fd = ::open(mark.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
      core::errno_error(errno, "{}: cannot be written (set MICRODIT_STATE to a shared folder)", mark);
    ::close(fd);
  }
  exec(program);
  core::user_error("{}: cannot be started: {}", program[0], std::strerror(errno));
}

}  // namespace microdit::lives

// posix_spawn, one socket pair, waitpid.
#include "ingest/worker_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "ingest/worker_messages.h"

namespace microdit::ingest {
namespace {

constexpr int kLook_ms = 200;

class Actions {
 public:
  Actions() { posix_spawn_file_actions_init(&actions_); }
  ~Actions() { posix_spawn_file_actions_destroy(&actions_); }
  Actions(const Actions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

/// A batch system's signals go to all processes of a job; the worker leaves them to the stage that started it.
class Attributes {
 public:
  Attributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t blocked;
    sigemptyset(&blocked);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&blocked, signal);
    posix_spawnattr_setsigmask(&attributes_, &blocked);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK);
  }
  ~Attributes() { posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  posix_spawnattr_t* get() { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

}  // namespace

std::filesystem::path worker_program(const std::string& name) {
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  for (const auto& candidate : {folder / name, folder.parent_path() / "bin" / name}) {
    if (std::filesystem::exists(candidate)) return candidate;
  }
  core::user_error("{}: the program {} is not beside this one: build it (cmake --build build --target jobs)",
                   folder.string(), name);
}

WorkerProcess::WorkerProcess(const std::vector<std::string>& arguments, int file, const std::string& program)
    : program_(worker_program(program).string()) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    core::errno_error(errno, "a socket for a worker");
  socket_ = ends[0];
  std::string protocol = worker_protocol();
  std::vector<char*> words = {const_cast<char*>(program_.c_str()), protocol.data()};
  for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  char* const environment[] = {nullptr};
  Actions actions;
  Attributes attributes;
  posix_spawn_file_actions_adddup2(actions.get(), ends[1], kWorkerSocket);
  posix_spawn_file_actions_addopen(actions.get(), 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(actions.get(), file, kWorkerFile);
  const int status =
      ::posix_spawn(&pid_, program_.c_str(), actions.get(), attributes.get(), words.data(), environment);
  ::close(ends[1]);
  if (status != 0) {
    ::close(socket_);
    core::errno_error(status, "{}: cannot be started", program_);
  }
}

WorkerProcess::~WorkerProcess() {
  ::close(socket_);
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

bool WorkerProcess::send(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return true;
}

WorkerProcess::Got WorkerProcess::receive(std::span<std::byte> bytes, const core::StopFlag* stop) {
  while (!bytes.empty()) {
    if (stop) {
      if (stop->requested()) return Got::stopped;
      pollfd ready{socket_, POLLIN, 0};
      if (::poll(&ready, 1, kLook_ms) == 0) continue;
    }
    const ssize_t got = ::recv(socket_, bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Got::gone;
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return Got::all;
}

WorkerEnd WorkerProcess::end() {
  int status = 0;
  ::shutdown(socket_, SHUT_RDWR);  // one that still lives ends by itself
  while (::waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) return {WorkerEnd::Kind::killed, "its end was not seen"};
  }
  pid_ = -1;
  using Kind = WorkerEnd::Kind;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kOtherProtocol)
    core::system_error(
        "{}: is of another build than this program; build both (cmake --build build --target jobs)",
        program_);
  if (!WIFSIGNALED(status)) return {Kind::exited, fmt::format("exit code {}", WEXITSTATUS(status))};
  const int signal = WTERMSIG(status);
  const Kind kind = signal == SIGXCPU ? Kind::out_of_time : signal == SIGKILL ? Kind::killed : Kind::crashed;
  return {kind, fmt::format("signal {} ({})", signal, ::strsignal(signal))};
}

}  // namespace microdit::ingest

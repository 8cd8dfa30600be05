// Other programs, and signals on their way to ranks.
#include "lives/command.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "fake_slurm.h"

namespace microdit::lives {
namespace {

using std::chrono::seconds;

TEST(Command, Words) {
  EXPECT_EQ(split_words("  srun --mpi=pmix\t-n 2\n"), (Words{"srun", "--mpi=pmix", "-n", "2"}));
  EXPECT_TRUE(split_words(" ").empty());
  EXPECT_EQ(shell_line({"a=b", "c d", "it's", ""}), "a=b 'c d' 'it'\\''s' ''");
}

TEST(Command, Answers) {
  const Answer answer = ask({"sh", "-c", "echo out; echo err >&2; exit 3"}, seconds(60));
  EXPECT_EQ(answer.exit_code, 3);
  EXPECT_EQ(answer.output, "out\n");
  EXPECT_EQ(answer.errors, "err\n");
  EXPECT_EQ(ask({"sh", "-c", "kill -9 $$"}, seconds(60)).exit_code, 137);
  EXPECT_EQ(ask({"no_such_program_anywhere"}, seconds(60)).exit_code, 127);
  EXPECT_TRUE(ask({"sleep", "60"}, seconds(1)).timed_out);
}

/// Runs `body` in a process of its own and gives back its exit code.
template <class Body>
int in_a_process(Body body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Waits until a file is there, at most a minute.
void await(const std::filesystem::path& file) {
  for (int i = 0; i < 6000 && !std::filesystem::exists(file); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

TEST(Command, ASignalWaitsForAProgramThatIsBeingLoaded) {
  FakeSlurm folder;
  const std::filesystem::path mark = folder.folder() / "mark";
  const int code = in_a_process([&] {
    take_signals();
    const pid_t self = ::getpid();
    std::thread([&] {
      await(mark);
      ::kill(self, SIGUSR1);
    }).detach();
    // The rank "loads" until the signal has been sent on, and only then looks for it.
    const std::string program =
        "import os,signal,sys,time; time.sleep(1);"
        "sys.exit(75 if signal.sigtimedwait({signal.SIGUSR1}, 20) else 1)";
    const int life = ::fork();
    if (life == 0) ::_exit(become_rank({"python3", "-c", program}, mark.string()));
    await(mark);
    ::kill(life, SIGUSR1);
    int status = 0;
    ::waitpid(life, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
  });
  EXPECT_EQ(code, 75);
}

TEST(Command, EitherSignalReachesTheLauncherAsUsr1) {
  for (const int signal : {SIGUSR1, SIGTERM}) {
    FakeSlurm folder;
    const std::string ready = (folder.folder() / "ready").string();
    const int code = in_a_process([&] {
      take_signals();
      const pid_t self = ::getpid();
      std::thread([&] {
        await(ready);
        ::kill(self, signal);
      }).detach();
      const Watched watched =
          watch({"sh", "-c", "trap 'exit 5' USR1; : >" + ready + "; while :; do sleep 0.05; done"}, true);
      return watched.stop_was_asked && watched.was_terminated == (signal == SIGTERM) ? watched.exit_code : 99;
    });
    EXPECT_EQ(code, 5);
  }
}

TEST(Command, AnEndWithoutSignals) {
  EXPECT_EQ(in_a_process([] {
              take_signals();
              const Watched watched = watch({"sh", "-c", "exit 4"}, true);
              return watched.stop_was_asked ? 99 : watched.exit_code;
            }),
            4);
}

/// Sends itself `signal` as soon as the launcher, which does not stop for it, is there; 1: killed as overdue.
int stop_a_deaf_launcher(int signal, const Grace& grace) {
  FakeSlurm folder;
  const std::string ready = (folder.folder() / "ready").string();
  return in_a_process([&] {
    take_signals();
    const pid_t self = ::getpid();
    std::thread([&] {
      await(ready);
      ::kill(self, signal);
    }).detach();
    const Watched watched =
        watch({"sh", "-c", "trap '' USR1; : >" + ready + "; exec sleep 120"}, true, grace);
    return watched.was_overdue && watched.exit_code > 128 ? 1 : 99;
  });
}

TEST(Command, WhatDoesNotStopInTimeIsKilled) {
  EXPECT_EQ(stop_a_deaf_launcher(SIGUSR1, {.after_stop = seconds(1)}), 1);
}

TEST(Command, AtTheTimeLimitThereIsNoTimeLeft) {
  EXPECT_EQ(
      stop_a_deaf_launcher(SIGTERM, {.after_stop = seconds(1000), .is_out_of_time = [] { return true; }}), 1);
}

}  // namespace
}  // namespace microdit::lives

// What reaches stderr, from which rank.
#include "core/log.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "core/stop_flag.h"

#include <csignal>

namespace microdit::core {
namespace {

using testing::MatchesRegex;

template <class Run>
std::string lines_of(Run run) {
  testing::internal::CaptureStderr();
  run();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, RankZeroSpeaks) {
  start_log(0);
  EXPECT_THAT(lines_of([] { log_info("step {} {{}}", 3); }),
              MatchesRegex("\\[[0-9-]+ [0-9:]+\\] step 3 \\{\\}\n"));
  EXPECT_THAT(lines_of([] { log_warn("low disk"); }),
              MatchesRegex("\\[[0-9-]+ [0-9:]+\\] warning: low disk\n"));
  EXPECT_THAT(lines_of([] { log_error("gone"); }), MatchesRegex("\\[[0-9-]+ [0-9:]+\\] error: gone\n"));
  EXPECT_EQ(lines_of([] { log_line(LogLevel::debug, "detail"); }), "");
}

TEST(Log, OtherRanksOnlyWarnAndFail) {
  start_log(3, LogLevel::debug);
  EXPECT_EQ(lines_of([] { log_info("step"); }), "");
  EXPECT_THAT(lines_of([] { log_warn("slow"); }),
              MatchesRegex("\\[[0-9-]+ [0-9:]+\\] \\[rank 3\\] warning: slow\n"));
  start_log(0);
}

TEST(Log, DebugWhenAskedFor) {
  start_log(0, LogLevel::debug);
  EXPECT_THAT(lines_of([] { log_line(LogLevel::debug, "x"); }),
              MatchesRegex("\\[[0-9-]+ [0-9:]+\\] debug: x\n"));
  start_log(0);
}

TEST(StopFlag, BothSignalsSetIt) {
  for (int signal : {SIGUSR1, SIGTERM}) {
    static StopFlag flags[2];
    StopFlag& flag = flags[signal == SIGTERM];
    stop_on_signals(flag);
    EXPECT_FALSE(flag.requested());
    ::kill(::getpid(), signal);  // to the process, as Slurm and mpirun send it
    for (int wait = 0; wait < 5000 && !flag.requested(); ++wait) ::usleep(1000);
    EXPECT_TRUE(flag.requested());
  }
}

/// Waits for the flag, then for the end that a second signal brings.
void interrupt_twice() {
  static StopFlag flag;
  stop_on_signals(flag);
  ::kill(::getpid(), SIGINT);
  for (int wait = 0; wait < 5000 && !flag.requested(); ++wait) ::usleep(1000);
  if (!flag.requested()) ::_exit(3);
  ::kill(::getpid(), SIGINT);
  ::sleep(10);
  ::_exit(4);
}

TEST(StopFlagDeathTest, TheFirstInterruptAsksAndTheSecondEnds) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  std::signal(SIGINT, SIG_DFL);
  EXPECT_EXIT(interrupt_twice(), testing::KilledBySignal(SIGINT), "again to abort at once");
}

}  // namespace
}  // namespace microdit::core

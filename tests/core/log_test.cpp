// What reaches stderr, from which rank.
#include "core/log.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "core/shown_text.h"
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

TEST(Log, NoMessageCanForgeALine) {
  start_log(0);
  EXPECT_THAT(lines_of([] { log_warn("member 'a\r\n[2026-01-01 00:00:00] error: b\x1b[2J\x7f'"); }),
              MatchesRegex("\\[[0-9-]+ [0-9:]+\\] warning: member 'a\\\\x0d\n"
                           "  \\[2026-01-01 00:00:00\\] error: b\\\\x1b\\[2J\\\\x7f'\n"));
  EXPECT_THAT(lines_of([] { log_info("two:\n  one\n  other"); }),
              MatchesRegex("\\[[0-9-]+ [0-9:]+\\] two:\n  one\n  other\n"));
  EXPECT_THAT(lines_of([] { log_error("https://h/a?sig=SECRET"); }),
              testing::Not(testing::HasSubstr("SECRET")));
}

TEST(ShownText, ControlsAreEscapedAndLettersAreNot) {
  EXPECT_EQ(without_controls("a\tb\x01\xc2\x9b"
                             "c"),
            "a\tb\\x01\\x9bc");  // U+009B: ESC [ in one
  EXPECT_EQ(without_controls("\xe7\x8c\xab \xc3\xa9 \xc2\xa9"), "\xe7\x8c\xab \xc3\xa9 \xc2\xa9");
  EXPECT_EQ(without_controls("a\nb\n  c\n d"), "a\n  b\n  c\n   d");
}

TEST(ShownText, AddressesKeepWhatIsNoSecret) {
  EXPECT_EQ(without_secrets("found 'https://u:p@h/a.tar?sig=S'; quote it"),
            "found 'https://h/a.tar?...'; quote it");
  EXPECT_EQ(without_secrets("[http://h/a?x, http://h/b#y] c?d"), "[http://h/a?..., http://h/b#...] c?d");
  EXPECT_EQ(without_secrets("http://h?a=b'c@d"), "http://h?...");
  for (const char* plain : {"", "://", "a?b", "http://h/a.tar: no", "file:///d/a b"})
    EXPECT_EQ(without_secrets(plain), plain);
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

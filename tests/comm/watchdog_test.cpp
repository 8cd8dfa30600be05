// The watchdog ends a process that stays in a collective, and only then.
#include "comm/watchdog.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "core/error.h"

namespace microdit::comm {
namespace {

using std::chrono::milliseconds;

void sleep(int ms) {
  std::this_thread::sleep_for(milliseconds(ms));
}

TEST(WatchdogDeathTest, EndsACollectiveThatLasts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        Watchdog watchdog(0.05, 3, [](int) {});
        const Watchdog::Watch watch(watchdog, "all_gather", 4096);
        sleep(20'000);
      },
      testing::ExitedWithCode(core::kHardwareFault), "rank 3: all_gather of 4096 bytes");
}

TEST(WatchdogDeathTest, EndsTheJobOnAProbesWord) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        Watchdog watchdog(0.05, 0, [](int code) { std::_Exit(code + 1); });
        watchdog.add_probe(&watchdog, [](double) { return std::string("the GPU is lost"); });
        sleep(20'000);
      },
      testing::ExitedWithCode(core::kHardwareFault + 1), "the GPU is lost");
}

TEST(Watchdog, LeavesShortCollectivesAndIdleTimeAlone) {
  bool ended = false;
  Watchdog watchdog(0.2, 0, [&](int) { ended = true; });
  for (int i = 0; i < 8; ++i) {
    const Watchdog::Watch watch(watchdog, "barrier", 0);
    sleep(40);
  }
  sleep(300);
  EXPECT_FALSE(ended);
}

TEST(Watchdog, WithoutADeadlineThereIsNone) {
  Watchdog watchdog(0, 0, [](int) { std::abort(); });
  EXPECT_FALSE(watchdog.active());
  const Watchdog::Watch watch(watchdog, "barrier", 0);
  sleep(50);
}

}  // namespace
}  // namespace microdit::comm

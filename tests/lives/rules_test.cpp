// The exit-code contract as a table.
#include "lives/rules.h"

#include <gtest/gtest.h>

namespace microdit::lives {
namespace {

struct Case {
  Ending ending;
  Next next;
  int exit_code;
};

TEST(Rules, EachEnd) {
  const Case cases[] = {
      {{0, false, false}, Next::done, 0},
      {{75, true, true}, Next::live_again, 75},
      {{75, false, false}, Next::live_again, 75},
      {{138, false, true}, Next::live_again, 75},       // SIGUSR1 before anybody listened
      {{143, false, true}, Next::live_again, 75},       // SIGTERM, likewise
      {{143, true, false}, Next::live_elsewhere, 143},  // nobody asked for it
      {{143, false, false}, Next::end, 143},
      {{76, false, false}, Next::live_elsewhere, 76},
      {{76, true, false}, Next::live_elsewhere, 76},
      {{137, true, false}, Next::live_elsewhere, 137},
      {{139, true, false}, Next::live_elsewhere, 139},
      {{134, true, false}, Next::live_elsewhere, 134},
      {{135, true, false}, Next::live_elsewhere, 135},
      {{137, false, false}, Next::end, 137},
      {{139, false, false}, Next::end, 139},
      {{134, false, false}, Next::end, 134},
      {{2, true, false}, Next::end, 2},
      {{1, true, false}, Next::end, 1},
      {{127, false, false}, Next::end, 127},
      {{.exit_code = 137, .progress = true, .was_overdue = true}, Next::live_elsewhere, 137},
      {{.exit_code = 143, .stop_was_asked = true, .was_overdue = true}, Next::live_again, 75},
      {{.exit_code = 0, .was_overdue = true}, Next::live_again, 75},
      {{.exit_code = 2, .is_later = true}, Next::live_elsewhere, 2},
      {{.exit_code = 1, .is_later = true}, Next::end, 1},
      {{.exit_code = 1, .is_later = true, .ranks_began = false}, Next::live_elsewhere, 1},
      {{.exit_code = 1, .ranks_began = false}, Next::end, 1},
  };
  for (const Case& one : cases) {
    Counters counters;
    const Decision decision = decide(one.ending, {}, counters);
    EXPECT_EQ(decision.next, one.next) << one.ending.exit_code << one.ending.progress;
    EXPECT_EQ(decision.exit_code, one.exit_code) << one.ending.exit_code << one.ending.progress;
    EXPECT_EQ(decision.why.empty(), one.next == Next::done);
  }
}

TEST(Rules, TheThirdFruitlessLifeInARowIsTheLast) {
  Counters counters;
  EXPECT_EQ(decide({75, false, true}, {}, counters).next, Next::live_again);
  EXPECT_EQ(decide({75, false, true}, {}, counters).next, Next::live_again);
  EXPECT_EQ(decide({75, true, true}, {}, counters).next, Next::live_again);  // counts anew
  EXPECT_EQ(decide({75, false, true}, {}, counters).next, Next::live_again);
  EXPECT_EQ(decide({75, false, true}, {}, counters).next, Next::live_again);
  const Decision last = decide({75, false, true}, {}, counters);
  EXPECT_EQ(last.next, Next::end);
  EXPECT_EQ(last.exit_code, 1);
  EXPECT_NE(last.why.find("3 lives in a row published nothing new"), std::string::npos);
}

TEST(Rules, TheFourthFaultInARowIsTheLast) {
  Counters counters;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(decide({76, false, false}, {}, counters).next, Next::live_elsewhere);
  EXPECT_EQ(decide({76, true, false}, {}, counters).next, Next::live_elsewhere);  // the first of a new row
  EXPECT_EQ(counters.faults, 1);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(decide({76, false, false}, {}, counters).next, Next::live_elsewhere);
  EXPECT_EQ(decide({76, false, false}, {}, counters).next, Next::end);
}

TEST(Rules, LimitsAreTheUsers) {
  Counters counters;
  EXPECT_EQ(decide({75, false, true}, {.fruitless = 1}, counters).next, Next::end);
  EXPECT_EQ(decide({76, false, false}, {.faults = 0}, counters).next, Next::end);
}

}  // namespace
}  // namespace microdit::lives

// Learning rate and average against hand-computed values.
#include "train/schedule.h"

#include <gtest/gtest.h>

namespace microdit::train {
namespace {

TEST(ScheduleTest, warm_up_then_cosine_to_the_final_factor) {
  const OptimizerConfig optimizer{.lr = 2.4e-4};
  const ScheduleConfig schedule{
      .kind = "cosine", .warmup_steps = 2500, .final_factor = 0.33, .decay_steps = 250000};
  EXPECT_DOUBLE_EQ(learning_rate(optimizer, schedule, 0), 0);
  EXPECT_DOUBLE_EQ(learning_rate(optimizer, schedule, 1250), 1.2e-4);
  EXPECT_DOUBLE_EQ(learning_rate(optimizer, schedule, 2500), 2.4e-4);
  EXPECT_NEAR(learning_rate(optimizer, schedule, 126250), 2.4e-4 * (0.33 + 0.67 / 2), 1e-12);
  EXPECT_NEAR(learning_rate(optimizer, schedule, 250000), 2.4e-4 * 0.33, 1e-12);
  EXPECT_NEAR(learning_rate(optimizer, schedule, 300000), 2.4e-4 * 0.33, 1e-12);
}

TEST(ScheduleTest, constant_and_linear) {
  const OptimizerConfig optimizer{.lr = 1};
  EXPECT_DOUBLE_EQ(learning_rate(optimizer, {.kind = "constant", .warmup_steps = 10}, 5), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(optimizer, {.kind = "constant", .warmup_steps = 10}, 1000), 1);
  const ScheduleConfig linear{.kind = "linear", .warmup_steps = 0, .final_factor = 0.2, .decay_steps = 100};
  EXPECT_NEAR(learning_rate(optimizer, linear, 50), 0.6, 1e-12);
  EXPECT_NEAR(learning_rate(optimizer, linear, 100), 0.2, 1e-12);
}

TEST(ScheduleTest, ema_warms_up_and_waits_for_its_start) {
  EXPECT_DOUBLE_EQ(ema_decay({.decay = 0.998, .warmup = 10}, 10), 0.5);
  EXPECT_DOUBLE_EQ(ema_decay({.decay = 0.998, .warmup = 10}, 1'000'000), 0.998);
  EXPECT_DOUBLE_EQ(ema_decay({.decay = 0.9975, .warmup = 0, .start_step = 1000}, 1000), 0);
  EXPECT_DOUBLE_EQ(ema_decay({.decay = 0.9975, .warmup = 0, .start_step = 1000}, 1001), 0.9975);
}

TEST(EmaDecay, GrowsInProportionWhereAsked) {
  // nano-diffusion's: decay * updates before / warmup until the warm-up's end.
  const EmaConfig ema{.decay = 0.9999, .warmup = 1000, .ramp = "linear"};
  EXPECT_DOUBLE_EQ(ema_decay(ema, 1), 0);
  EXPECT_DOUBLE_EQ(ema_decay(ema, 2), 0.9999 / 1000);
  EXPECT_DOUBLE_EQ(ema_decay(ema, 501), 0.9999 / 2);
  EXPECT_DOUBLE_EQ(ema_decay(ema, 1001), 0.9999);
  EXPECT_DOUBLE_EQ(ema_decay(ema, 100000), 0.9999);
}

TEST(EmaConfig, OldSettingsAreAsTheyWere) {
  EXPECT_FALSE(core::to_json(EmaConfig()).contains("ramp")) << "runs older than the key must go on";
  EXPECT_TRUE(core::to_json(EmaConfig{.ramp = "linear"}).contains("ramp"));
}

}  // namespace
}  // namespace microdit::train

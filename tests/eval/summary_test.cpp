// The table of an evaluation, and what is said of a run that only recites.
#include "eval/summary.h"

#include <gtest/gtest.h>

namespace microdit::eval {
namespace {

core::Json metrics() {
  const auto retrieval = [](double top1, double within, double nearer) {
    return core::Json{{"top1", top1},   {"within_1_percent", within}, {"median_rank", nearer},
                      {"prompts", 185}, {"candidates", 3635},         {"chance_top1", 1.0 / 3635}};
  };
  return {{"step", 2500},
          {"weights", "ema"},
          {"sampler", {{"rule", "heun"}, {"steps", 24}, {"guidance", 4.0}}},
          {"eval_loss", 1.2329918304005185},
          {"eval_loss_split", "held_out"},
          {"loss_samples", 185},
          {"loss", {{"trained", 0.18123456}, {"held_out", 1.2329918304005185}, {"untrained", 1.0111}}},
          {"retrieval",
           {{"trained", retrieval(0.87109375, 1, 0)}, {"held_out", retrieval(0.0162162, 0.27, 350)}}}};
}

TEST(Summary, HasFewDigitsAndRanksFromOne) {
  const std::vector<SummaryRow> rows = summary_rows(metrics());
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].trained + "|" + rows[0].held_out + "|" + rows[0].untrained + "|" + rows[0].chance,
            "0.1812|1.233|1.011|");
  EXPECT_EQ(rows[1].trained + "|" + rows[1].held_out + "|" + rows[1].chance, "87.1 %|1.62 %|0.0275 %");
  EXPECT_EQ(rows[2].chance, "1.02 %") << "37 of 3635 ranks";
  EXPECT_EQ(rows[3].trained + "|" + rows[3].held_out + "|" + rows[3].chance, "1|351|1818");
  EXPECT_EQ(rows[0].better + rows[1].better + rows[3].better, "lowerhigherlower");
  EXPECT_EQ(settings_text(metrics()), "heun, 24 steps, guidance 4; checkpoint step 2500, averaged weights");
}

TEST(Summary, OfOtherFiles) {
  EXPECT_TRUE(summary_rows({{"held_out_psnr_db", 27.3}}).empty()) << "a codec's";
  core::Json older = metrics();
  older.erase("loss");
  EXPECT_EQ(summary_rows(older)[0].held_out, "1.233");
  EXPECT_EQ(summary_rows(older)[0].trained, "");
  older.erase("retrieval");
  EXPECT_EQ(summary_rows(older).size(), 1u);
  EXPECT_EQ(recital(older), "") << "nothing to compare";
}

TEST(Recital, IsSaidWhereHeldOutIsFarWorse) {
  EXPECT_EQ(
      recital(metrics()),
      "It recites its training pictures and hardly generalises to held-out captions: loss 0.1812 on trained "
      "and "
      "1.233 on held-out samples, worse than the 1.011 of predicting zeros; top 1 87.1 % and 1.62 %.");
  core::Json good = metrics();
  good["loss"]["held_out"] = 0.2;
  good["retrieval"]["held_out"]["top1"] = 0.8;
  EXPECT_EQ(recital(good), "");
}

TEST(ShortNumber, HasFourDigits) {
  EXPECT_EQ(short_number(0.00027510316), "0.0002751");
  EXPECT_EQ(short_number(27.3049), "27.3");
  EXPECT_EQ(short_number(123456.7), "123457");
}

}  // namespace
}  // namespace microdit::eval

// ftfy's repairs.
#include "text/fix_text.h"

#include <gtest/gtest.h>

#include <utility>

#include "text/code_points.h"
#include "text/fix_encoding.h"
#include "text/goldens.h"
#include "text/unicode_forms.h"

namespace microdit::text {
namespace {

TEST(FixText, EqualsFtfy) {
  const std::vector<core::Json> rows = golden_rows("markup.jsonl");
  ASSERT_GT(rows.size(), 400u);
  for (const core::Json& row : rows)
    EXPECT_EQ(fix_text(row[0].get<std::string>()), row[1].get<std::string>()) << row[0];
}

TEST(FixText, EveryRepair) {
  const std::pair<const char*, const char*> pairs[] = {
      {"âœ” No problems", "✔ No problems"},                    // mojibake
      {"voilÃ le travail", "voilà le travail"},                // its A0 made a space
      {"â€œ like this â€\ufffd", "\" like this \ufffd"},       // a byte lost
      {"\u00ed\u00a0\u00bd\u00ed\u00b8\u008d", "\U0001f60d"},  // CESU-8
      {"&eacute;&EACUTE;&#233;&nTILDE;", "éÉé&nTILDE;"},
      {"&lt;b>", "<b>"},
      {"a<b &lt;", "a<b &lt;"},  // markup: entities stay
      {"ﬂuﬃeﬆ", "fluffiest"},
      {"ＬＯＵＤ　ＮＯＩＳＥＳ", "LOUD NOISES"},
      {"‘a’ “b”", "'a' \"b\""},
      {"a\r\nb\rc\u2028d", "a\nb\nc\nd"},
      {"\x1b[36;44mI'm blue\x1b[0m", "I'm blue"},
      {"a\x01\u200b\ufeff", "a\u200b"},
      {"e\u0301", "é"},
  };
  for (const auto& [given, fixed] : pairs) EXPECT_EQ(fix_text(given), fixed) << given;
  EXPECT_EQ(fix_text("\xed\xa0\xbd\xed\xb2\xa9 \xed\xa0\xbd"), "\U0001f4a9 \ufffd");  // surrogates
}

TEST(FixText, SegmentsAreLinesOrAMillionCharacters) {
  EXPECT_EQ(fix_text("&lt;\n<\n&lt;"), "<\n<\n&lt;");  // entities from the first line with markup on
  const std::string much(999'999, 'a');
  EXPECT_EQ(fix_text(much + "&amp;"), much + "&amp;");  // cut within the entity
  EXPECT_EQ(fix_text(much.substr(9) + "&amp;"), much.substr(9) + "&");
}

TEST(FixText, TheBudgetEndsWhatRepairsItselfWithoutEnd) {
  RepairBudget budget;
  ASSERT_TRUE(budget.take(RepairBudget::kCodePoints));
  std::u32string text = U"ÂÂ©";
  EXPECT_TRUE(fix_encoding(text, budget));
  EXPECT_EQ(text, U"Â©");  // one step alone
  std::string chain;       // each step turns the last two characters into one
  for (int i = 0; i < 2000; ++i) chain += "Â";
  EXPECT_EQ(fix_text(chain + "©"), "©");
  std::string nested = "é &";
  for (int i = 0; i < 2500; ++i) nested += "amp;";
  EXPECT_EQ(fix_text(nested), "é &");
}

TEST(Lower, AsPython) {
  EXPECT_EQ(lower("ΟΔΟΣ ΟΔΟΣ."), "οδος οδος.");
  EXPECT_EQ(lower("İX"), "i̇x");
}

TEST(Nfc, KeepsWhatUnicode14DoesNotHave) {
  EXPECT_EQ(nfc(U"a\U0001E08F\u0316"), U"a\U0001E08F\u0316");  // a mark since Unicode 15: not put in order
}

TEST(Nfc, LongRunsOfMarks) {
  EXPECT_EQ(nfc(U"a\u0316\u0301"), U"á\u0316");
  std::u32string marks = U"a";
  for (int i = 0; i < 100; ++i) marks += U"\u0301\u0316";
  const std::u32string composed = nfc(marks);
  EXPECT_EQ(composed, U"á" + std::u32string(100, U'\u0316') + std::u32string(99, U'\u0301'));
}

}  // namespace
}  // namespace microdit::text

// Captions equal to the original's, and the gentle way.
#include "text/caption_processor.h"

#include <gtest/gtest.h>

#include <utility>

#include "core/utf8.h"
#include "text/goldens.h"
#include "text/strip.h"

namespace microdit::text {
namespace {

TEST(CaptionProcessor, KnownPairs) {
  const std::pair<const char*, const char*> pairs[] = {
      {"Photo of a <PERSON> at https://foo.com/bar?x=1 in NYC", "photo of a person at ?x=1 in nyc"},
      {"epsilon delta", "ilon delta"},
      {"pngs and jpegs", "s and s"},
      {"u.s.a. map", "u. s. a. map"},
      {"&lt;b&gt;bold&lt;/b&gt;", "bold< b>"},
      {"AB1234", ""},
      {"download free", ""},
      {"10x20 30×40.5", ""},
      {"foo@bar.com", "foo"},
      {"", ""},
      {" \n", ""},
      {"\"a cat\"", "a cat"},
      {"100% cotton", "100% cotton"},
      {"Été à la plage", "été à la plage"},
  };
  for (const auto& [given, cleaned] : pairs) EXPECT_EQ(clean_caption(given), cleaned) << given;
}

TEST(CaptionProcessor, EqualsTheOriginal) {
  const std::vector<core::Json> rows = golden_rows("captions.jsonl");
  ASSERT_GT(rows.size(), 500u);
  for (const core::Json& row : rows) {
    const auto caption = row[0].get<std::string>();
    const std::string cleaned = clean_caption(caption);
    if (row[1].is_string()) {
      EXPECT_EQ(cleaned, row[1].get<std::string>()) << row[0];
    } else {
      EXPECT_FALSE(core::first_invalid_utf8(cleaned)) << row[0];
    }
    EXPECT_EQ(gentle_caption(caption), row[2].get<std::string>()) << row[0];
  }
}

TEST(CaptionProcessor, GentleLeavesTheWords) {
  EXPECT_EQ(gentle_caption("  The <PERSON>’s \tcafÃ©,\n10x20 "), "The <PERSON>'s café, 10x20");
  EXPECT_EQ(gentle_caption(" \xc2\xa0\n"), "");
}

TEST(CaptionProcessor, TakesAnyBytes) {
  for (const char* bytes : {"\xff", "caf\xe9 at", "\xe2\x80", "\xed\xa0\x80", "%ff\xf0\x9f"}) {
    EXPECT_FALSE(core::first_invalid_utf8(clean_caption(bytes))) << bytes;
    EXPECT_FALSE(core::first_invalid_utf8(gentle_caption(bytes))) << bytes;
  }
  EXPECT_EQ(gentle_caption("caf\xe9"), "caf\xef\xbf\xbd");
}

TEST(Strip, AsPythonAndWithoutHarmToOtherBytes) {
  EXPECT_EQ(strip(" \u3000a b\u0085\x1f\u2028"), "a b");
  EXPECT_EQ(strip("\ufeffa "), "\ufeffa");  // no white space to Python
  EXPECT_EQ(strip(" \n\u00a0"), "");
  for (const char* bytes : {"\xe2\x80", "caf\xe9", "\xc2 x", "x\xe2\x80", "\x80", "\xff"})
    EXPECT_EQ(strip(std::string(" ") + bytes + "\t"), bytes);
}

}  // namespace
}  // namespace microdit::text

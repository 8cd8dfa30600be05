// Markup and references as CPython and BeautifulSoup read them.
#include "text/html_text.h"

#include <gtest/gtest.h>

#include <utility>

#include "text/goldens.h"
#include "text/html_entities.h"
#include "text/percent.h"

namespace microdit::text {
namespace {

TEST(HtmlText, EqualsBeautifulSoup) {
  int compared = 0;
  for (const core::Json& row : golden_rows("markup.jsonl")) {
    if (!row[2].is_string()) continue;
    ++compared;
    EXPECT_EQ(html_text(row[0].get<std::string>()), row[2].get<std::string>()) << row[0];
  }
  EXPECT_GT(compared, 350);
}

TEST(HtmlText, EveryRule) {
  const std::pair<const char*, const char*> pairs[] = {
      {"a<b>c</b>d", "acd"},
      {"<3 a<", "<3 a<"},
      {"x<a href='y>z'>w", "xw"},
      {"x<a href='y>z", "x<a href='y>z"},
      {"a<!-- b -->c<? d >e<!doctype f>g<![CDATA[h]]>i", "aceghi"},
      {"a<script>b</b></script>c<style>d", "ac"},
      {"<p> \n </p><pre> \n </pre>", "\n \n "},
      {"<ruby>a<rt>b</rt></ruby><template>c</template>", "a"},
      {"<br></br><br/>a", "a"},
      {"&amp;&foo;&#150;&#xD7;&nope", "&&foo–×&nope"},
      {"x &a", "x a"},                        // the parser loses an ampersand before one last letter
      {"a &# &# <b> ;", "a &# &# <b> ;"},     // and reads nothing behind the second broken number
      {"a <![bad> <b>c</b>", "a <![bad> c"},  // refused by the original
  };
  for (const auto& [given, text] : pairs) EXPECT_EQ(html_text(given), text) << given;
  EXPECT_EQ(html_text("&#xD83D; "), "\xed\xa0\xbd ");  // half a pair, for fix_text to mend
}

TEST(HtmlUnescape, EqualsPython) {
  for (const core::Json& row : golden_rows("markup.jsonl"))
    EXPECT_EQ(html_unescape(row[0].get<std::string>()), row[3].get<std::string>()) << row[0];
}

TEST(HtmlUnescape, EveryRule) {
  const std::pair<const char*, const char*> pairs[] = {
      {"&lt;&LT&ampx&notit;&notin;", "<<&x¬it;∉"},
      {"&#65;&#x41&#0;&#150;", "AA\ufffd–"},
      {"&#xD800;&#x110000;&#1;&#xFFFE;", "\ufffd\ufffd"},
      {"&;&#;&#x;&x", "&;&#;&#x;&x"},
      {"&amp;amp;", "&amp;"},
      {"&bne;", "=\u20e5"},
  };
  for (const auto& [given, text] : pairs) EXPECT_EQ(html_unescape(given), text) << given;
  EXPECT_EQ(html_unescape("&#" + std::string(5000, '1') + ";"), "\ufffd");  // Python raises here
}

TEST(UnquotePlus, EveryRule) {
  const std::pair<const char*, const char*> pairs[] = {
      {"a+b%20c", "a b c"},
      {"100% cotton 50%dead", "100% cotton 50\ufffdad"},
      {"%C3%A9%c3é%A9", "é\ufffdé\ufffd"},
      {"%ED%A0%80 %F0%9Fx", "\ufffd\ufffd\ufffd \ufffdx"},
      {"%4 %zz %", "%4 %zz %"},
  };
  for (const auto& [given, text] : pairs) EXPECT_EQ(unquote_plus(given), text) << given;
}

}  // namespace
}  // namespace microdit::text

// Keys of rows and of members.
#include "tables/key_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tables/scratch.h"

namespace microdit::tables {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// The key, or "!" and why there is none.
std::string key_of(const std::string& text, const Row& values) {
  std::string key;
  const std::string why = KeyTemplate(text, "key").expand(values, key);
  return why.empty() ? key : "!" + why;
}

std::string refusal(const std::string& text) {
  return message_of<core::UserError>([&] { KeyTemplate(text, "tables.0.key"); });
}

TEST(KeyTemplate, FillsInColumns) {
  EXPECT_EQ(key_of("part-{part:06}/{name}", {std::int64_t{12}, "a.png"}), "part-000012/a.png");
  EXPECT_EQ(key_of("{id}", {std::int64_t{-3}}), "-3");
  EXPECT_EQ(key_of("{id:05}", {std::int64_t{-3}}), "-0003") << "as Python's format";
  EXPECT_EQ(key_of("{id:03}", {std::int64_t{12345}}), "12345");
  EXPECT_EQ(key_of("{id:06}|{id}", {12.0}), "000012|12") << "an identifier from a column with gaps";
  EXPECT_EQ(key_of("{id:06}", {"007"}), "000007") << "CSV has text alone";
  EXPECT_EQ(key_of("{id:030}", {"123456789012345678901234"}), "000000123456789012345678901234");
  EXPECT_EQ(key_of("{{{id}}}", {"x"}), "{x}");
  EXPECT_EQ(key_of("{a}-{b}-{a}", {"x", true}), "x-true-x");
}

TEST(KeyTemplate, TakesPathsApart) {
  EXPECT_EQ(key_of("{p|relative}", {"././a/b.c.jpg"}), "a/b.c.jpg");
  EXPECT_EQ(key_of("{p|dir}:{p|basename}:{p|stem}", {"./a/b.c.jpg"}), "a:b.c.jpg:b.c");
  EXPECT_EQ(key_of("{p|stem}", {".hidden"}), ".hidden");
  EXPECT_EQ(key_of("{x|relative}", {".../a"}), ".../a");
}

TEST(KeyTemplate, ComposesLettersAsArchivesDo) {
  const std::string composed = "\u00dcber \u1ed7.jpg", apart = "U\u0308ber o\u0302\u0303.jpg";
  EXPECT_EQ(key_of("{name}", {apart}), composed);
  EXPECT_EQ(key_of("{name}", {composed}), composed);
  EXPECT_EQ(PathTemplate("{basename}", "join").key("a/" + apart), composed);
  EXPECT_EQ(key_of("{name}", {std::string("caf\xe9")}), "caf\xe9") << "no UTF-8: as it is";
}

TEST(KeyTemplate, SaysWhyARowHasNoKey) {
  EXPECT_EQ(key_of("{id:06}", {"x7"}), "!`id` is no whole number: 'x7'");
  EXPECT_EQ(key_of("{id:06}", {1.5}), "!`id` is no whole number: '1.5'");
  EXPECT_EQ(key_of("{id:06}", {true}), "!`id` is no whole number: 'true'");
  EXPECT_EQ(key_of("{id}", {Value()}), "!`id` is absent");
  EXPECT_EQ(key_of("{id}", {""}), "!it would be empty");
  EXPECT_EQ(key_of("{id}", {std::string(5000, 'x')}), "!it would be longer than 4096 bytes");
}

TEST(KeyTemplate, NamesTemplateAndPlaceOfAMistake) {
  EXPECT_THAT(refusal("a/{id"),
              HasSubstr("tables.0.key: 'a/{id' is no key template, at character 3: this '{' is not closed"));
  EXPECT_THAT(refusal("a}b"), HasSubstr("at character 2"));
  EXPECT_THAT(refusal("{id:6}"), HasSubstr("at character 5: '6' is no width such as 06"));
  EXPECT_THAT(refusal("{id:0999}"), HasSubstr("no width"));
  EXPECT_THAT(refusal("{id:00}"), HasSubstr("no width"));
  EXPECT_THAT(refusal("{id|upper}"), HasSubstr("'upper' is none of relative, basename, stem, dir"));
  EXPECT_THAT(refusal("{}"), HasSubstr("a field without a name"));
  EXPECT_THAT(refusal("{a{b}"), HasSubstr("a '{' within a field"));
  EXPECT_THAT(refusal("all.jpg"), HasSubstr("names no column"));
}

TEST(PathTemplate, MakesTheKeyOfAMember) {
  EXPECT_EQ(PathTemplate("{path}", "join").key("./part-000001/a.png"), "part-000001/a.png");
  EXPECT_EQ(PathTemplate("{stem}", "join").key("sa/sa_1.jpg"), "sa_1");
  EXPECT_EQ(PathTemplate("{dir}/{basename}", "join").key("x/y/z.jpg"), "x/y/z.jpg");
  EXPECT_EQ(PathTemplate("{stem:012}", "join").key("7.jpg"), "000000000007");
  EXPECT_EQ(PathTemplate("{stem:012}", "join").key("cat.jpg"), "") << "has none";
  EXPECT_EQ(PathTemplate("{dir}/{stem}", "join").key("a.jpg"), "/a");
  EXPECT_THAT(
      message_of<core::UserError>([] { PathTemplate("{id}", "tables.0.join"); }),
      HasSubstr(
          "tables.0.join: '{id}': a member has {path}, {dir}, {parent}, {top}, {basename}, {stem}, {root} "
          "and {archive}, no {id}"));
}

}  // namespace
}  // namespace microdit::tables

// key=value words: the whole value, or a refusal that says how to give it.
#include <gmock/gmock.h>

#include "core/config.h"
#include "core/error.h"
#include "core/scratch_folder.h"

namespace microdit::core {
namespace {

using testing::HasSubstr;

struct Settings {
  std::string text = "before";
  std::string name = "n";
  double lr = 1e-3;
  std::uint64_t seed = 7;
  std::vector<std::string> list = {"before"};
  void fields(Fields& f) {
    f.field("text", text);
    f.field("name", name, {.max = 20, .required = true});
    f.field("lr", lr);
    f.field("seed", seed);
    f.field("list", list);
  }
};

Settings with(const std::string& word) {
  return load<Settings>(ConfigTree::of_overrides({"name=n", word}));
}
std::string refusal(const std::string& word) {
  return message_of<UserError>([&] { with(word); });
}

TEST(Override, TakesTheWholeValue) {
  for (const char* text :
       {"a=b", "a#b", "100%", "user@host", "a&b", "it's", "a - b", "-rw", "a/b", "\xe7\x8c\xab", "x!y"})
    EXPECT_EQ(with(std::string("text=") + text).text, text) << text;
  EXPECT_EQ(with("text=\"a #b\"").text, "a #b");
  EXPECT_EQ(with("text='#1'").text, "#1");
  EXPECT_EQ(with("text=''").text, "");
  EXPECT_EQ(with("text=  spaced  ").text, "spaced");
  EXPECT_EQ(with("list=[a, 'b #c', d#e]").list, (std::vector<std::string>{"a", "b #c", "d#e"}));
}

TEST(Override, RefusesWhatYamlWouldTakeForNothingOrLess) {
  for (const char* value :
       {"",       " ",         "#1",        "a #b",   "/a #x/runs", "&a",     "&a b",
        "!x",     "!x y",      "%a",        "*a",     "@a",         "`a`",    "|",
        ">",      "...",       "--- a",     "'",      "\"",         "'abc",   "['a, b]",
        "'a' #b", "[a, b] #c", "[a #c, b]", "[&a b]", "a\nb",       "[a\nb]", "[a #c\n, b]"}) {
    EXPECT_THAT(refusal(std::string("text=") + value), HasSubstr("text=")) << value;
    EXPECT_THAT(refusal(std::string("list=") + value), HasSubstr("list=")) << value;
    EXPECT_THAT(refusal(std::string("lr=") + value), HasSubstr("lr=")) << value;
  }
}

TEST(Override, SaysHowToGiveIt) {
  EXPECT_THAT(refusal("text=a #b"), HasSubstr("text=\"'a #b'\""));
  EXPECT_THAT(refusal("text=it's #1"), HasSubstr("text=\"'it''s #1'\""));
  EXPECT_THAT(refusal("text=a \"b\" #c"), HasSubstr("'text='\\''a \"b\" #c'\\'''"));
  EXPECT_THAT(refusal("lr="), HasSubstr("lr=null"));
}

TEST(Override, OnlyNullIsNothing) {
  for (const char* spelled : {"null", "~", "Null", "NULL"}) {
    EXPECT_EQ(with(std::string("lr=") + spelled).lr, 1e-3) << spelled;
  }
  EXPECT_EQ(with("text='~'").text, "~");
}

TEST(Override, RequiredAndLongText) {
  EXPECT_THAT(refusal("name=''"), HasSubstr("must not be empty"));
  EXPECT_THAT(refusal("name=" + std::string(21, 'x')), HasSubstr("21 bytes"));
  EXPECT_EQ(with("name=" + std::string(20, 'x')).name.size(), 20U);
}

TEST(Override, TextThatIsNotUtf8) {
  EXPECT_THAT(refusal("text=caf\xe9"), HasSubstr("not UTF-8"));
  EXPECT_THAT(refusal("text=\xff\xfe"), HasSubstr("not UTF-8"));
}

TEST(Override, SeedsUpToTheLargest) {
  EXPECT_EQ(with("seed=18446744073709551615").seed, 18446744073709551615U);
  EXPECT_EQ(with("seed=9223372036854775808").seed, 9223372036854775808U);
  EXPECT_EQ(with("seed=1e3").seed, 1000U);
  EXPECT_EQ(
      to_yaml(with("seed=18446744073709551615")).find("seed: 18446744073709551615") != std::string::npos,
      true);
  for (const char* bad : {"-1", "18446744073709551616", "1.5", "x"})
    EXPECT_THAT(refusal(std::string("seed=") + bad), HasSubstr("seed"));
}

TEST(Files, AnchorsAndForeignEncodings) {
  const ScratchFolder folder;
  const auto mistake = [&](const std::string& bytes) {
    return message_of<UserError>([&] { load<Settings>(folder.write("x.yaml", bytes)); });
  };
  EXPECT_THAT(mistake("name: n\ntext: &a\n"), HasSubstr("x.yaml:2"));
  EXPECT_THAT(mistake("name: n\ntext: &a b\n"), HasSubstr("anchor"));
  EXPECT_THAT(mistake("name: caf\xe9\n"), HasSubstr("not UTF-8"));
  EXPECT_THAT(mistake(std::string("\xff\xfen\0a\0", 6)), HasSubstr("UTF-16"));
  EXPECT_EQ(load<Settings>(folder.write("y.yaml", "\xef\xbb\xbfname: n\n")).name, "n");
}

TEST(Json, AsItStands) {
  const Settings s = load<Settings>(ConfigTree::of_json(
      {{"name", "${HOME}"}, {"text", "a #b"}, {"lr", 2}, {"list", {"&a", "null"}}}, "facts.json"));
  EXPECT_EQ(s.name, "${HOME}");
  EXPECT_EQ(s.text, "a #b");
  EXPECT_EQ(s.lr, 2);
  EXPECT_EQ(s.list, (std::vector<std::string>{"&a", "null"}));
  EXPECT_THAT(message_of<UserError>([] {
                load<Settings>(ConfigTree::of_json({{"lr", "2"}}, "facts.json"));
              }),
              HasSubstr("facts.json: lr: expected a number"));
}

}  // namespace
}  // namespace microdit::core

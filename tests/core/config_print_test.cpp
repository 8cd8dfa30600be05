// Printing: YAML that reads back to the same values, JSON, the table of keys.
#include <gmock/gmock.h>

#include "core/config.h"
#include "core/error.h"

namespace microdit::core {
namespace {

struct Part {
  std::string name;
  std::vector<double> ratios;
  std::vector<Part> children;
  void fields(Fields& f) {
    f.field("name", name, {.required = true, .help = "its name"});
    f.field("ratios", ratios);
    if (!children.empty() || f.given("children")) f.sections("children", children);
  }
};
struct Empty {
  void fields(Fields&) {}
};
struct Everything {
  bool flag = true;
  std::int64_t count = -3;
  double rate = 1e-4;
  std::string text = "plain";
  std::vector<std::int64_t> ints;
  std::vector<std::string> texts;
  std::map<std::string, std::string> map;
  Part part;
  Empty empty;
  std::vector<Part> parts;
  bool given_while_printing = false;
  void fields(Fields& f) {
    f.field("flag", flag);
    f.field("count", count, {.min = -5, .help = "how many"});
    f.field("rate", rate, {.min = 0, .exclusive_min = true, .help = "per second"});
    f.field("text", text);
    f.field("ints", ints);
    f.field("texts", texts, {.choices = {}});
    f.field("map", map);
    f.section("part", part);
    f.section("empty", empty);
    f.sections("parts", parts);
    if (!f.reading()) given_while_printing = f.given("flag");
  }
};

Everything difficult() {
  Everything e;
  e.flag = false;
  e.count = std::numeric_limits<std::int64_t>::min() + 1;
  e.count = -5;
  e.rate = 0.1 + 0.2;
  e.text = "# not a comment: \"quoted\" 'single' ${HOME} $${X} $ \\ \n\ttab ünï \x01 end ";
  e.ints = {1, -2, 9007199254740993};
  e.texts = {"",     "null", "~",          "true", "no",    "3",      "1e5",         "-",
             "- a",  "a: b", "[x]",        "{y}",  "*a",    "&b",     "!c",          "%d",
             "@e",   "`",    "a,b",        "a#b",  " lead", "trail ", "multi\nline", "/path/to.file-1",
             "Y",    "0x10", "2026-01-01", "<<",   "=",     "?",      "|",           ">",
             "日本", "a\rb", "\u2028"};
  e.map = {{"", "empty key"}, {"a b", "${x}"}, {"null", "null"}, {"k", ""}};
  e.part = {"p", {0.5, 1, 1e300, 5e-324, -0.0, std::numeric_limits<double>::infinity()}, {}};
  e.parts = {{"one", {}, {}}, {"two", {0.1}, {{"deep", {1}, {{"deeper", {}, {}}}}, {"second", {}, {}}}}};
  return e;
}

TEST(ConfigPrint, YamlReadsBackToTheSameValues) {
  const Everything before = difficult();
  const std::string yaml = to_yaml(before);
  const Everything after = load<Everything>(ConfigTree::parse(yaml, "printed"));
  EXPECT_EQ(to_json(after).dump(), to_json(before).dump()) << yaml;
  EXPECT_EQ(to_yaml(after), yaml);
  EXPECT_EQ(after.rate, before.rate);
  EXPECT_EQ(after.text, before.text);
  EXPECT_EQ(after.texts, before.texts);
  EXPECT_EQ(after.map, before.map);
  EXPECT_EQ(after.part.ratios, before.part.ratios);
  EXPECT_EQ(after.parts.at(1).children.at(0).children.at(0).name, "deeper");
}

TEST(ConfigPrint, YamlIsReadable) {
  Everything e;
  e.part.name = "it is";
  e.part.ratios = {0.5, 1};
  e.parts = {{"a", {}, {}}};
  EXPECT_EQ(to_yaml(e), R"(flag: true
count: -3
rate: 0.0001
text: plain
ints: []
texts: []
map: {}
part:
  name: "it is"
  ratios: [0.5, 1.0]
empty: {}
parts:
  - name: a
    ratios: []
)");
  EXPECT_EQ(to_yaml(Empty{}), "");
}

TEST(ConfigPrint, Json) {
  const Json json = to_json(difficult());
  EXPECT_EQ(json["flag"], false);
  EXPECT_EQ(json["part"]["ratios"][0], 0.5);
  EXPECT_EQ(json["parts"][1]["children"][0]["name"], "deep");
  EXPECT_EQ(json["empty"], Json::object());
  EXPECT_EQ(json.begin().key(), "flag");  // the struct's order
}

TEST(ConfigPrint, NothingIsGivenWhilePrinting) {
  Everything e;
  detail::print_json(&e, detail::visitor<Everything>());
  EXPECT_FALSE(e.given_while_printing);
}

TEST(ConfigPrint, TableOfKeys) {
  EXPECT_EQ(describe_fields<Everything>(), R"(flag            true|false  = true
count           integer     = -3        >=-5  how many
rate            number      = 0.0001    >0  per second
text            text        = plain
ints            integers    = []
texts           texts       = []
map             mapping     = {}
part.name       text        (required)  its name
part.ratios     numbers     = []
parts.N.name    text        (required)  its name
parts.N.ratios  numbers     = []
)");
}

TEST(ConfigPrint, AKeyThatIsReadInTwoWaysIsOneRow) {
  struct Length {
    std::string text;
    std::int64_t steps = 5;
    void fields(Fields& f) {
      f.field("steps", text, {.max = 30});
      f.field("steps", steps, {.min = 1, .help = "or 10ep"});
    }
  };
  EXPECT_EQ(describe_fields<Length>(), "steps  integer or text  = 5  >=1  or 10ep\n");
}

}  // namespace
}  // namespace microdit::core

// ${key}: values that a configuration takes from itself.
#include <gmock/gmock.h>

#include "core/config.h"
#include "core/error.h"
#include "core/scratch_folder.h"

namespace microdit::core {
namespace {

using testing::HasSubstr;

struct Part {
  double lr = 1;
  std::string name = "p";
  std::vector<std::int64_t> sizes;
  void fields(Fields& f) {
    f.field("lr", lr);
    f.field("name", name);
    f.field("sizes", sizes);
  }
};
struct Whole {
  std::string text = "t";
  std::int64_t steps = 1;
  Part part, other;
  std::vector<Part> parts;
  void fields(Fields& f) {
    f.field("text", text);
    f.field("steps", steps);
    f.section("part", part);
    f.section("other", other);
    f.sections("parts", parts);
  }
};

class References : public testing::Test {
 protected:
  Whole read(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
    return load<Whole>(folder_.write("main.yaml", yaml), overrides);
  }
  std::string mistake(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
    return message_of<UserError>([&] { read(yaml, overrides); });
  }
  ScratchFolder folder_;
};

TEST_F(References, AWholeValueKeepsItsType) {
  const Whole c = read(R"(
steps: 5
text: "${steps}"
part: {lr: 0.5, sizes: [1, 2], name: "7"}
other: {lr: "${part.lr}", sizes: "${part.sizes}"}
parts: ["${part}", {lr: "${parts.0.lr}", name: "${parts.0.name}"}]
)");
  EXPECT_EQ(c.text, "5");
  EXPECT_EQ(c.other.lr, 0.5);
  EXPECT_EQ(c.other.sizes, (std::vector<std::int64_t>{1, 2}));
  ASSERT_EQ(c.parts.size(), 2u);
  EXPECT_EQ(c.parts[0].name, "7");
  EXPECT_EQ(c.parts[1].lr, 0.5);
  EXPECT_EQ(c.parts[1].name, "7");
  EXPECT_THAT(mistake("steps: ${text}\ntext: '3'"), HasSubstr("main.yaml:1: steps: expected a whole number"));
}

TEST_F(References, InsideATextTheyAreText) {
  const Whole c = read("steps: 5\npart: {lr: 1e-3}\ntext: a_${steps}_${part.lr}_$${steps}");
  EXPECT_EQ(c.text, "a_5_1e-3_${steps}");
  EXPECT_EQ(read("text: x\npart: {name: '${.lr}_${..text}', lr: 2}").part.name, "2_x");
  EXPECT_EQ(read("part: {name: '${.lr}', lr: 3}\nother: ${part}").other.name, "3");  // beside where it stands
  EXPECT_EQ(read("parts: [{name: a}, {name: '${..0.name}$${.lr}'}]").parts[1].name, "a${.lr}");
  EXPECT_EQ(read("text: x\npart: {name: '${text}'}\nother: {name: '<${part.name}>'}").other.name, "<x>");
  // What a value says is not read again.
  EXPECT_EQ(read("text: $${steps}\npart: {name: '${text}'}").part.name, "${steps}");
}

TEST_F(References, SeeTheCommandLineAndWhatFilesExtend) {
  folder_.write("base.yaml", "steps: 5\ntext: run_${steps}\n");
  EXPECT_EQ(read("extends: base.yaml\nsteps: 6").text, "run_6");
  EXPECT_EQ(read("extends: base.yaml\nsteps: 6", {"steps=7"}).text, "run_7");
  EXPECT_EQ(read("steps: 6", {"text=${steps}-${part.lr}", "part.lr=2"}).text, "6-2");
  EXPECT_EQ(read("steps: 6\ntext: null", {"part.name=${text}"}).part.name, "p");  // null: the default
}

TEST_F(References, MistakesNameThePlaceAndTheNearestKey) {
  const std::string file = (folder_ / "main.yaml").string();
  EXPECT_EQ(mistake("text: a\npart: {lr: 1}\nother: {lr: '${part.rl}'}"),
            file + ":3: ${part.rl}: the configuration does not give 'part.rl'; did you mean ${part.lr}?");
  EXPECT_THAT(mistake("text: a\npart: {name: '${...text}'}"), HasSubstr("${...text}"));
  EXPECT_THAT(mistake("part: {lr: 1, name: '${.rl}'}"), HasSubstr("did you mean ${part.lr}?"));
  EXPECT_THAT(mistake("text: ${steps}"), HasSubstr("a program's default cannot be referred to"));
  EXPECT_THAT(mistake("text: x${part}\npart: {lr: 1}"), HasSubstr("part is a section (" + file + ":2)"));
  EXPECT_THAT(mistake("text: x${steps}\nsteps: null"), HasSubstr("steps is nothing"));
  EXPECT_THAT(mistake("text: ${parts.1.name}\nparts: [{name: a}]"),
              HasSubstr("does not give 'parts.1.name'"));
  EXPECT_THAT(mistake("extends: ${text}\ntext: a"), HasSubstr("environment variable"));
  EXPECT_THAT(mistake("text: ${oc.env:HOME}"), HasSubstr("${NAME}"));
  EXPECT_THAT(mistake("text: a", {"text=${stepz}", "steps=1"}),
              HasSubstr("command line: text=${stepz}: ${stepz}: the configuration does not give 'stepz'; did "
                        "you mean ${steps}?"));
  EXPECT_THAT(mistake("text: ${a}\npart: {name: '${b}'}"), HasSubstr("2 errors"));  // all at once
}

TEST_F(References, ThatLeadBackToThemselves) {
  const std::string file = (folder_ / "main.yaml").string();
  EXPECT_EQ(
      mistake("text: ${part.name}\npart:\n  name: '${text}'"),
      file + ":3: ${text}: leads back to itself: " + file + ":1: ${part.name}, " + file + ":3: ${text}");
  EXPECT_THAT(mistake("text: ${text}"), HasSubstr("leads back to itself"));
  EXPECT_THAT(mistake("part: {name: '${part}'}"), HasSubstr("leads back to itself"));
  EXPECT_EQ(read("part: {name: a, lr: '${other.lr}'}\nother: {lr: 3, name: '${part.name}'}").other.name, "a");
}

TEST_F(References, OfAStrangerStaySmall) {
  std::string doubled = "text: ${t.k29}\nt:\n  k0: '" + std::string(64, 'x') + "'\n",
              chain = "text: ${t.k200}\nt:\n  k0: a\n";
  for (int i = 1; i < 30; ++i) doubled += fmt::format("  k{0}: '${{t.k{1}}}${{t.k{1}}}'\n", i, i - 1);
  for (int i = 200; i > 0; --i) chain += fmt::format("  k{}: '${{t.k{}}}'\n", i, i - 1);
  EXPECT_THAT(mistake(doubled), HasSubstr("references make more than"));
  EXPECT_THAT(mistake(chain), HasSubstr("references one behind the other"));
}

}  // namespace
}  // namespace microdit::core

// Reading: every kind of mistake, placed and explained; legal spellings; defaults.
#include "core/config.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "core/scratch_folder.h"

namespace microdit::core {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Optimizer {
  double lr = 1e-4;
  std::vector<double> betas = {0.9, 0.999};
  void fields(Fields& f) {
    f.field("lr", lr, {.min = 0, .max = 1, .exclusive_min = true, .help = "peak learning rate"});
    f.field("betas", betas, {.min = 0, .max = 1, .help = "AdamW's"});
    if (betas.size() != 2) f.error("betas", "two numbers are needed");
  }
};

struct Source {
  std::string path;
  double weight = 1;
  void fields(Fields& f) {
    f.field("path", path, {.required = true});
    f.field("weight", weight, {.min = 0});
  }
};

struct Config {
  std::int64_t steps = 100;
  bool resume = true;
  std::string kind = "microdit";
  std::string note = "none";
  std::vector<std::int64_t> sizes = {64};
  std::vector<std::string> words;
  std::map<std::string, std::string> tags = {{"a", "b"}};
  Optimizer optimizer;
  std::vector<Source> sources;
  bool steps_given = false;
  void fields(Fields& f) {
    f.field("steps", steps, {.min = 1, .max = 1e6});
    f.field("resume", resume);
    f.field("kind", kind, {.choices = {"microdit", "unet"}});
    f.field("note", note);
    f.field("sizes", sizes, {.min = 8});
    f.field("words", words, {.choices = {"x", "y"}});
    f.field("tags", tags);
    f.section("optimizer", optimizer);
    f.sections("sources", sources);
    steps_given = f.given("steps");
  }
};

Config read(const std::string& yaml, const std::vector<std::string>& ignore = {}) {
  return load<Config>(ConfigTree::parse(yaml, "c.yaml"), ignore);
}
std::string mistake(const std::string& yaml) {
  return message_of<UserError>([&] { read(yaml); });
}

TEST(Config, ReadsEveryType) {
  const Config c = read(R"(
steps: 2_000
resume: no
kind: unet
note: "two words: ünïcode"
sizes: [8, 1e3, 16.0]
words: [x, y, x]
tags: {k: v, n: 3}
optimizer:
  lr: 2.4e-4
  betas: [0, 1]
sources:
  - path: one
  - {path: two, weight: .5}
)");
  EXPECT_EQ(c.steps, 2000);
  EXPECT_FALSE(c.resume);
  EXPECT_EQ(c.kind, "unet");
  EXPECT_EQ(c.note, "two words: ünïcode");
  EXPECT_EQ(c.sizes, (std::vector<std::int64_t>{8, 1000, 16}));
  EXPECT_EQ(c.words, (std::vector<std::string>{"x", "y", "x"}));
  EXPECT_EQ(c.tags, (std::map<std::string, std::string>{{"k", "v"}, {"n", "3"}}));
  EXPECT_EQ(c.optimizer.lr, 2.4e-4);
  ASSERT_EQ(c.sources.size(), 2u);
  EXPECT_EQ(c.sources[1].path, "two");
  EXPECT_EQ(c.sources[1].weight, 0.5);
  EXPECT_TRUE(c.steps_given);
}

TEST(Config, AbsentAndNullKeepTheDefaults) {
  for (const char* yaml : {"", "# nothing\n", "{}", "steps: null\noptimizer: ~\nsizes:\nsources:\n"}) {
    const Config c = read(yaml);
    EXPECT_EQ(c.steps, 100);
    EXPECT_EQ(c.sizes, std::vector<std::int64_t>{64});
    EXPECT_FALSE(c.steps_given);
  }
}

TEST(Config, HalfPrecisionIsRefusedByNameWithTheReason) {
  struct Compute {
    std::string precision = "fp32", other = "a";
    void fields(Fields& f) {
      f.field("precision", precision, {.choices = {"fp32", "bf16"}});
      f.field("other", other, {.choices = {"a", "b"}});
    }
  };
  const auto refused = [](const std::string& text) {
    return message_of<UserError>([&] { load<Compute>(ConfigTree::parse(text)); });
  };
  for (const char* word : {"fp16", "float16", "half", "16"})
    EXPECT_THAT(
        refused(fmt::format("precision: {}", word)),
        AllOf(HasSubstr(fmt::format("'{}' is not one of: fp32, bf16; nothing is computed in fp16", word)),
              HasSubstr("65504"), HasSubstr("take bf16")));
  EXPECT_THAT(refused("precision: fp8"), Not(HasSubstr("65504")));
  EXPECT_THAT(refused("other: fp16"), Not(HasSubstr("65504")));
}

TEST(Config, IntegersAreExact) {
  struct Wide {
    std::int64_t n = 0;
    void fields(Fields& f) { f.field("n", n); }
  };
  const auto n = [](const std::string& text) { return load<Wide>(ConfigTree::parse("n: " + text)).n; };
  EXPECT_EQ(n("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(n("-9223372036854775808"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(n("9007199254740993"), 9007199254740993);
  EXPECT_EQ(n("+5"), 5);
  EXPECT_EQ(n("010"), 10);
  EXPECT_EQ(n("1.5e1"), 15);
  for (const char* bad : {"9223372036854775808", "1e19", "1.5", "1__0", "_1", "1_", "0x10", "1e", "--1",
                          "+-1", "\"5\"", "[5]", ".inf", ".nan"}) {
    EXPECT_THAT(message_of<UserError>([&] { n(bad); }), HasSubstr("expected a whole number")) << bad;
  }
}

TEST(Config, NumbersRejectTrailingJunk) {
  EXPECT_EQ(mistake("optimizer:\n  lr: 2.4e-4x\n"),
            "c.yaml:2: optimizer.lr: expected a number, found '2.4e-4x'");
  for (const char* bad : {"1e-4e", "1,5", "nan", ".nan", "inf", "'1'", "1 2", "true", "1e999"}) {
    EXPECT_THAT(mistake(fmt::format("optimizer: {{lr: {}}}", bad)), Not("")) << bad;
  }
}

TEST(Config, TypesAreNamed) {
  EXPECT_EQ(mistake("resume: 1"), "c.yaml:1: resume: expected true or false, found '1'");
  EXPECT_EQ(mistake("resume: 'true'"), "c.yaml:1: resume: expected true or false, found 'true'");
  EXPECT_EQ(mistake("note: [a]"), "c.yaml:1: note: expected text, found a list");
  EXPECT_EQ(mistake("steps: {a: 1}"), "c.yaml:1: steps: expected a whole number, found a section");
  EXPECT_EQ(read("words: x").words, std::vector<std::string>{"x"});  // one text is a list of one
  EXPECT_EQ(mistake("words: ''"), "c.yaml:1: words: expected a list (such as [a, b]), found ''");
  EXPECT_EQ(mistake("sizes: 8"), "c.yaml:1: sizes: expected a list (such as [a, b]), found '8'");
  EXPECT_EQ(mistake("sizes:\n  - 8\n  - x"), "c.yaml:3: sizes.1: expected a whole number, found 'x'");
  EXPECT_EQ(mistake("tags: [a]"), "c.yaml:1: tags: expected a section (indented keys), found a list");
  EXPECT_EQ(mistake("tags:\n  a: [b]"), "c.yaml:2: tags.a: expected text, found a list");
  EXPECT_EQ(mistake("optimizer: 3"),
            "c.yaml:1: optimizer: expected a section (indented keys), found '3'; set what it holds, as "
            "optimizer.KEY=value");
  EXPECT_EQ(mistake("sources: {path: a}"), "c.yaml:1: sources: expected a list, found a section");
  EXPECT_EQ(mistake("sources: [3]"), "c.yaml:1: sources.0: expected a section (indented keys), found '3'");
}

TEST(Config, RangesAndChoices) {
  EXPECT_EQ(mistake("steps: 0"),
            "c.yaml:1: steps: 0 is out of range, it must be at least 1 and at most 1000000");
  EXPECT_EQ(mistake("optimizer: {lr: 0}"),
            "c.yaml:1: optimizer.lr: 0 is out of range, it must be greater than 0 and at most 1");
  EXPECT_EQ(mistake("sizes: [8, 7]"), "c.yaml:1: sizes.1: 7 is out of range, it must be at least 8");
  EXPECT_EQ(mistake("kind: dit"), "c.yaml:1: kind: 'dit' is not one of: microdit, unet");
  EXPECT_EQ(mistake("words: [x, z]"), "c.yaml:1: words.1: 'z' is not one of: x, y");
}

TEST(Config, UnknownKeysGetASuggestion) {
  EXPECT_EQ(mistake("step: 3"), "c.yaml:1: step: unknown key; did you mean 'steps'?");
  EXPECT_EQ(mistake("optimizer:\n  rl: 3"), "c.yaml:2: optimizer.rl: unknown key; did you mean 'lr'?");
  EXPECT_EQ(mistake("optimizer:\n  momentum: 3"),
            "c.yaml:2: optimizer.momentum: unknown key; known: lr, betas");
  EXPECT_EQ(mistake("sources:\n- path: a\n  wieght: 2"),
            "c.yaml:3: sources.0.wieght: unknown key; did you mean 'weight'?");
  EXPECT_EQ(mistake("optimzer:"), "c.yaml:1: optimzer: unknown key; did you mean 'optimizer'?");
}

TEST(Config, NamesOfOtherProgramsGetASuggestionToo) {
  EXPECT_EQ(mistake("learning_rate: 3"),
            "c.yaml:1: learning_rate: unknown key; did you mean 'optimizer.lr'?");
  EXPECT_EQ(mistake("optimizer:\n  learning_rate: 3"),
            "c.yaml:2: optimizer.learning_rate: unknown key; did you mean 'lr'?");
  EXPECT_EQ(mistake("epochs: 3"), "c.yaml:1: epochs: unknown key; did you mean 'steps'?");
  EXPECT_THAT(mistake("cfg: 3"), HasSubstr("cfg: unknown key; known: "));  // nothing of that kind here
}

TEST(Config, IgnoredKeysBelongToSomebodyElse) {
  EXPECT_EQ(read("model: {depth: 3}\nsteps: 5", {"model"}).steps, 5);
  EXPECT_THAT(message_of<UserError>([] { read("optimizer: {model: 3}", {"model"}); }),
              HasSubstr("optimizer.model"));
  const auto message = message_of<UserError>([] { read("modle: 3", {"model"}); });
  EXPECT_THAT(message, HasSubstr("modle: unknown key"));
}

TEST(Config, RequiredAndOwnErrors) {
  EXPECT_EQ(mistake("steps: 1\nsources:\n- weight: 2"), "c.yaml:3: sources.0.path: required, but not given");
  EXPECT_EQ(mistake("optimizer:\n  betas: [0.9]"), "c.yaml:2: optimizer.betas: two numbers are needed");
  // One mistake, one message: the struct's own check is silent about a key that is wrong already.
  EXPECT_EQ(mistake("optimizer:\n  betas: 0.9"),
            "c.yaml:2: optimizer.betas: expected a list (such as [a, b]), found '0.9'");
  struct Needs {
    Source source;
    void fields(Fields& f) { f.section("source", source); }
  };
  EXPECT_EQ(message_of<UserError>([] { load<Needs>(ConfigTree::parse("", "n.yaml")); }),
            "n.yaml:1: source.path: required, but not given");
}

TEST(Config, AllErrorsAtOnce) {
  EXPECT_EQ(mistake("steps: x\nnot_a_known_key_at_all: 1\noptimizer:\n  lr: 2\nkind: dit\n"),
            "4 errors in the configuration:\n"
            "  c.yaml:1: steps: expected a whole number, found 'x'\n"
            "  c.yaml:5: kind: 'dit' is not one of: microdit, unet\n"
            "  c.yaml:4: optimizer.lr: 2 is out of range, it must be greater than 0 and at most 1\n"
            "  c.yaml:2: not_a_known_key_at_all: unknown key; known: steps, resume, kind, note, sizes, "
            "words, tags, "
            "optimizer, sources");
}

TEST(Config, ListsReplaceTheDefaultOnes) {
  struct Defaults {
    std::vector<Source> sources{{"first", 5}, {"second", 6}};
    void fields(Fields& f) { f.sections("sources", sources); }
  };
  const auto replaced = load<Defaults>(ConfigTree::parse("sources: [{path: new}]"));
  ASSERT_EQ(replaced.sources.size(), 1u);
  EXPECT_EQ(replaced.sources[0].weight, 1);  // nothing of the default item shines through
  EXPECT_EQ(load<Defaults>(ConfigTree::parse("sources: []")).sources.size(), 0u);
  EXPECT_EQ(load<Defaults>(ConfigTree::parse("")).sources.size(), 2u);
}

TEST(ConfigYaml, MistakesAreRefusedWithTheirLine) {
  EXPECT_EQ(mistake("steps: 1\nnote: a\nsteps: 2"),
            "c.yaml:3: the key 'steps' is given twice (first at c.yaml:1)");
  EXPECT_THAT(mistake("optimizer: &o {lr: 1}\nnote: *o"),
              HasSubstr("c.yaml:2: YAML aliases (*name) are not supported"));
  EXPECT_THAT(mistake("steps: 1\nnote: [a\n"), HasSubstr("not valid YAML"));
  EXPECT_THAT(mistake("steps: 1\n\tnote: a"), HasSubstr("c.yaml:2"));
  EXPECT_THAT(mistake("- 1"), HasSubstr("c.yaml:1: expected 'key: value' lines, found a list"));
  EXPECT_THAT(mistake("? [a]\n: b"), HasSubstr("a key must be a plain word"));
  EXPECT_THAT(mistake("steps: 1\n---\nsteps: 2"), HasSubstr("more than one YAML document"));
  EXPECT_THAT(mistake("note: !!binary aGk="), HasSubstr("tag"));
  EXPECT_THAT(mistake("note: " + std::string(100, '[') + std::string(100, ']')), HasSubstr("nested deeper"));
  EXPECT_THAT(mistake("note: " + std::string(100'000, '[')), Not(""));
  EXPECT_EQ(read("note: !!str 5").note, "5");
}

}  // namespace
}  // namespace microdit::core

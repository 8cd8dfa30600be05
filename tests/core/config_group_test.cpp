// Words of the command line that pick files, add and take away; where each value comes from.
#include <gmock/gmock.h>

#include "core/config.h"
#include "core/config_origins.h"
#include "core/error.h"
#include "core/nearest.h"
#include "core/scratch_folder.h"

namespace microdit::core {
namespace {

using testing::HasSubstr;

struct Model {
  std::string kind = "small";
  std::int64_t depth = 1, width = 2, heads = 3;
  void fields(Fields& f) {
    f.field("kind", kind);
    f.field("depth", depth);
    f.field("width", width);
    f.field("heads", heads);
  }
};
struct Source {
  std::string path;
  double weight = 1;
  void fields(Fields& f) {
    f.field("path", path, {.required = true});
    f.field("weight", weight);
  }
};
struct Training {
  std::string name = "run";
  double lr = 1;
  std::vector<std::int64_t> sizes = {64};
  std::map<std::string, std::string> tags;
  Model model;
  std::vector<Source> data;
  void fields(Fields& f) {
    f.field("name", name);
    f.field("lr", lr);
    f.field("sizes", sizes);
    f.field("tags", tags);
    f.section("model", model);
    f.sections("data", data);
  }
};

class Groups : public testing::Test {
 protected:
  Groups() {
    std::filesystem::create_directories(folder_ / "train");
    std::filesystem::create_directories(folder_ / "models");
    folder_.write("models/one.yaml", "model: {kind: small, depth: 10, width: 20}\n");
    folder_.write("models/two.yaml", "model: {kind: small, depth: 11}\n");
    folder_.write("models/other.yaml", "model: {kind: large, depth: 12}\n");
    folder_.write("models/notes.yaml", "name: not a model\n");
    folder_.write("train/run.yaml",
                  "extends: ../models/one.yaml\nlr: 2\nmodel: {heads: 30}\nsizes: [1, 2]\n"
                  "data: [{path: a}]\ntags: {k: v}\n");
  }
  Training read(const std::vector<std::string>& words) {
    return load<Training>(folder_ / "train/run.yaml", words);
  }
  std::string mistake(const std::vector<std::string>& words) {
    return message_of<UserError>([&] { read(words); });
  }
  ScratchFolder folder_;
};

TEST_F(Groups, AFileTakesThePlaceOfTheOneOfItsFolder) {
  const Training c = read({"model=two"});
  EXPECT_EQ(c.model.depth, 11);
  EXPECT_EQ(c.model.width, 2);   // one.yaml's is gone
  EXPECT_EQ(c.model.heads, 30);  // the run's own stays
  EXPECT_EQ(c.lr, 2);
  const Training other = read({"model=other"});
  EXPECT_EQ(other.model.kind, "large");
  EXPECT_EQ(other.model.heads, 3);  // belonged to a model of another kind
}

TEST_F(Groups, AFileTakesThePlaceOfAWholeSection) {
  folder_.write("train/whole.yaml", "model: {kind: small, depth: 1, heads: 9}\n");
  const auto c = load<Training>(folder_ / "train/whole.yaml", {"model=two"});
  EXPECT_EQ(c.model.depth, 11);
  EXPECT_EQ(c.model.heads, 3);  // its own model had no part in such a file
}

TEST_F(Groups, FilesComeBeforeKeys) {
  EXPECT_EQ(read({"model=two", "model.depth=5"}).model.depth, 5);
  EXPECT_EQ(read({"model.depth=5", "model=two"}).model.depth, 5);
  EXPECT_EQ(read({"model=two", "model=one"}).model.width, 20);
}

TEST_F(Groups, WrongNames) {
  EXPECT_THAT(mistake({"model=tow"}),
              HasSubstr("command line: model=tow: there is no " + (folder_ / "models/tow.yaml").string() +
                        " (did you mean model=two?); there are: one, other, two"));
  EXPECT_THAT(mistake({"model=notes"}), HasSubstr("there is no"));  // it says nothing of a model
  EXPECT_THAT(mistake({"model=3"}), HasSubstr("expected a section"));
  EXPECT_EQ(read({"name=two"}).name, "two");  // no section, no group
  EXPECT_EQ(read({"model=null"}).model.depth, 1);
}

TEST_F(Groups, PlusAdds) {
  const Training c =
      read({"+data.1.path=b", "+data.1.weight=3", "+tags.x=y", "+sizes.2=3", "data.0.weight=2"});
  ASSERT_EQ(c.data.size(), 2u);
  EXPECT_EQ(c.data[1].path, "b");
  EXPECT_EQ(c.data[1].weight, 3);
  EXPECT_EQ(c.data[0].weight, 2);
  EXPECT_EQ(c.tags.at("x"), "y");
  EXPECT_EQ(c.sizes, (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(read({"~data", "+data.0.path=z"}).data.at(0).path, "z");  // begins a list
  EXPECT_THAT(mistake({"+lr=3"}), HasSubstr("lr is there already (" + (folder_ / "train/run.yaml").string() +
                                            ":2); to change it, write lr=3"));
  EXPECT_THAT(mistake({"data.1.path=b"}),
              HasSubstr("list of 1 items (0 is the first); +data.1.path adds one"));
  EXPECT_THAT(mistake({"+data.2.path=b"}), HasSubstr("the next one is 1"));
  EXPECT_THAT(mistake({"~data", "data.0.path=b"}),
              HasSubstr("expected a list, found a section; +data.0 begins one"));
  EXPECT_THAT(mistake({"+dpeth=3"}), HasSubstr("command line: +dpeth=3: dpeth: unknown key; known"));
  EXPECT_THAT(mistake({"+lr"}), HasSubstr("expected +key=value"));
}

TEST_F(Groups, TildeTakesAway) {
  const Training c = read({"~lr", "~sizes.0", "~tags.k", "~model.depth"});
  EXPECT_EQ(c.lr, 1);
  EXPECT_EQ(c.sizes, std::vector<std::int64_t>{2});
  EXPECT_TRUE(c.tags.empty());
  EXPECT_EQ(c.model.depth, 1);
  EXPECT_EQ(c.model.width, 20);
  EXPECT_THAT(mistake({"~model.dpeth"}),
              HasSubstr("does not give 'model.dpeth', so there is nothing to take away; "
                        "did you mean 'depth'?"));
  EXPECT_THAT(mistake({"~data.1"}), HasSubstr("nothing to take away"));
  EXPECT_THAT(mistake({"~lr=2"}), HasSubstr("write ~lr"));
  EXPECT_THAT(mistake({"~"}), HasSubstr("empty part"));
}

TEST_F(Groups, AKeyOfAnotherSectionIsNamedWhole) {
  EXPECT_EQ(mistake({"depth=3"}), "command line: depth=3: depth: unknown key; did you mean 'model.depth'?");
  EXPECT_EQ(mistake({"weight=3"}),
            "command line: weight=3: weight: unknown key; did you mean 'data.0.weight'?");
  EXPECT_EQ(mistake({"model.lr=3"}),
            "command line: model.lr=3: model.lr: unknown key; did you mean 'lr' of the outermost level?");
  EXPECT_THAT(mistake({"depth=3", "lrr=1"}), HasSubstr("2 errors"));
}

TEST_F(Groups, OriginsAreCommentsBehindTheValues) {
  const auto tree = ConfigTree::load(
      folder_ / "train/run.yaml",
      {"model=two", "data.0.weight=2", "+tags.x='a # b'", "model.width=7", "sizes.1=5", "name=null"});
  const Training run = load<Training>(tree);
  const std::string printed = to_yaml_with_origins(run, tree), main = (folder_ / "train/run.yaml").string(),
                    two = (folder_ / "models/two.yaml").string();
  EXPECT_EQ(printed, fmt::format(R"(name: run  # command line: name (null)
lr: 2.0  # {0}:2
sizes: [1, 5]  # {0}:4, command line: sizes.1
tags:
  k: v  # {0}:6
  x: "a # b"  # command line: +tags.x
model:
  kind: small  # {1}:1
  depth: 11  # {1}:1
  width: 7  # command line: model.width
  heads: 30  # {0}:3
data:
  - path: a  # {0}:5
    weight: 2.0  # command line: data.0.weight
)",
                                 main, two));
  EXPECT_EQ(to_yaml(load<Training>(ConfigTree::parse(printed, "printed"))), to_yaml(run));
}

TEST(Nearest, IsNearOrNothing) {
  EXPECT_EQ(nearest("stpes", {"seed", "steps"}), "steps");
  EXPECT_EQ(nearest("x", {"seed", "steps"}), std::nullopt);
  EXPECT_EQ(nearest("confg", {"config", "print-config"}), "config");
}

}  // namespace
}  // namespace microdit::core

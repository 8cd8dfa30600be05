// Files that extend one another, overrides, environment variables.
#include <gmock/gmock.h>

#include <cstdlib>

#include "core/config.h"
#include "core/error.h"
#include "core/scratch_folder.h"

namespace microdit::core {
namespace {

using testing::HasSubstr;

struct Inner {
  std::int64_t depth = 1;
  std::string name = "default";
  void fields(Fields& f) {
    f.field("depth", depth, {.min = 0});
    f.field("name", name);
  }
};
struct Outer {
  double lr = 1;
  std::vector<std::int64_t> sizes;
  std::string text = "t";
  Inner model;
  std::vector<Inner> parts;
  void fields(Fields& f) {
    f.field("lr", lr);
    f.field("sizes", sizes);
    f.field("text", text);
    f.section("model", model);
    f.sections("parts", parts);
  }
};

class Environment {  // set for one test
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    value != nullptr ? setenv(name, value, 1) : unsetenv(name);
  }
  ~Environment() { before_ ? setenv(name_, before_->c_str(), 1) : unsetenv(name_); }
  Environment(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

class ConfigFiles : public testing::Test {
 protected:
  Outer read(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
    return load<Outer>(folder_.write("main.yaml", yaml), overrides);
  }
  std::string mistake(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
    return message_of<UserError>([&] { read(yaml, overrides); });
  }
  ScratchFolder folder_;
};

TEST_F(ConfigFiles, ExtendsMergesMappingsAndReplacesLists) {
  std::filesystem::create_directory(folder_ / "base");
  folder_.write("base/a.yaml", "lr: 0.1\nsizes: [1, 2]\nmodel: {depth: 3, name: a}\n");
  folder_.write("base/b.yaml", "extends: a.yaml\nlr: 0.2\ntext: b\n");  // relative to b.yaml
  folder_.write("c.yaml", "model:\n  depth: 7\ntext: c\n");
  const Outer one = read("extends: base/b.yaml\nsizes: [9]\nmodel:\n  name: own\n");
  EXPECT_EQ(one.lr, 0.2);
  EXPECT_EQ(one.sizes, std::vector<std::int64_t>{9});
  EXPECT_EQ(one.model.depth, 3);
  EXPECT_EQ(one.model.name, "own");
  const Outer both = read("extends: [base/b.yaml, c.yaml]\n");
  EXPECT_EQ(both.text, "c");  // later wins
  EXPECT_EQ(both.model.depth, 7);
  EXPECT_EQ(both.model.name, "a");
  EXPECT_EQ(read("text: last\nextends: c.yaml\n").text, "last");
  EXPECT_EQ(read("extends: c.yaml\ntext: null\n").text, "t");  // null: back to the default
}

TEST_F(ConfigFiles, ErrorsNameTheFileThatIsWrong) {
  folder_.write("base.yaml", "lr: 1\nmodel:\n  depth: x\n");
  const std::string message = mistake("extends: base.yaml\nlrr: 2\n");
  EXPECT_THAT(message, HasSubstr((folder_ / "base.yaml").string() + ":3: model.depth"));
  EXPECT_THAT(message, HasSubstr((folder_ / "main.yaml").string() + ":2: lrr"));
}

TEST_F(ConfigFiles, ExtendsMistakes) {
  folder_.write("other.yaml", "extends: main.yaml\n");
  EXPECT_THAT(mistake("extends: other.yaml\n"),
              HasSubstr("extends itself: main.yaml -> other.yaml -> main.yaml"));
  EXPECT_THAT(mistake("extends: main.yaml\n"), HasSubstr("extends itself"));
  EXPECT_THAT(mistake("lr: 1\nextends: missing.yaml\n"), HasSubstr("main.yaml:2: extends: there is no file"));
  EXPECT_THAT(mistake("extends: {a: b}\n"), HasSubstr("expected a file name"));
  EXPECT_THAT(mistake("extends: [[a]]\n"), HasSubstr("expected a file name"));
  folder_.write("leaf.yaml", "lr: 3\n");
  folder_.write("left.yaml", "extends: leaf.yaml\n");
  EXPECT_EQ(read("extends: [left.yaml, leaf.yaml]\n").lr, 3);  // twice the same is no cycle
  EXPECT_THAT(message_of<UserError>([&] { ConfigTree::load(folder_ / "no.yaml"); }), HasSubstr("no.yaml"));
  EXPECT_THAT(message_of<UserError>([&] { ConfigTree::load(folder_.path()); }), HasSubstr("is a folder"));
}

TEST_F(ConfigFiles, Overrides) {
  const std::string yaml = "lr: 1\nsizes: [1, 2]\nparts: [{name: a}, {name: b}]\n";
  const Outer c =
      read(yaml, {"lr=2", "lr=3e-1", "model.depth=4", "sizes.1=7", "parts.0.name=z=w", "text=\"\""});
  EXPECT_EQ(c.lr, 0.3);
  EXPECT_EQ(c.model.depth, 4);
  EXPECT_EQ(c.sizes, (std::vector<std::int64_t>{1, 7}));
  EXPECT_EQ(c.parts[0].name, "z=w");
  EXPECT_EQ(c.parts[1].name, "b");
  EXPECT_EQ(c.text, "");
  EXPECT_EQ(read(yaml, {"sizes=[5]", "model={name: n}", "model.depth=2"}).sizes,
            std::vector<std::int64_t>{5});
  EXPECT_EQ(read(yaml, {"lr=null"}).lr, 1);
  EXPECT_EQ(read(yaml, {"text=two words"}).text, "two words");
}

TEST_F(ConfigFiles, OverrideMistakesNameTheOverride) {
  EXPECT_EQ(mistake("lr: 1", {"model.dept=4"}),
            "command line: model.dept=4: model.dept: unknown key; did you mean 'depth'?");
  EXPECT_EQ(mistake("lr: 1", {"lr=fast"}), "command line: lr=fast: lr: expected a number, found 'fast'");
  EXPECT_EQ(mistake("lr: 1", {"lr=-", "model.depth=-1"}),
            "2 errors in the configuration:\n  command line: lr=-: lr: expected a number, found a list\n"
            "  command line: model.depth=-1: model.depth: -1 is out of range, it must be at least 0");
  for (const char* bad : {"lr", "=1", ".lr=1", "lr.=1", "model..depth=1", "text=[a", "text=*a"}) {
    EXPECT_THAT(mistake("lr: 1", {bad}), HasSubstr("command line: ")) << bad;
  }
  EXPECT_THAT(mistake("sizes: [1]", {"sizes.1=2"}), HasSubstr("'1' is no index into a list of 1 items"));
  EXPECT_THAT(mistake("sizes: [1]", {"sizes.x=2"}), HasSubstr("'x' is no index"));
  EXPECT_THAT(mistake("lr: 1", {"lr.x=2"}), HasSubstr("'x' cannot be set inside the value '1'"));
  EXPECT_THAT(mistake("lr: 1", {"text=\"a"}), HasSubstr("not a YAML value"));
}

TEST_F(ConfigFiles, VariablesThatConfigurationsMayUse) {
  const Environment allow("MICRODIT_ENV_ALLOW", "PROJECT_DISK, GROUP"), disk("PROJECT_DISK", "/p"),
      group("GROUP", "g");
  const Environment slurm("SLURM_JOB_ID", "7"), other("OTHER_DISK", "/o");
  EXPECT_EQ(read("text: '${PROJECT_DISK}/${GROUP}/${SLURM_JOB_ID}'").text, "/p/g/7");
  EXPECT_THAT(mistake("text: ${OTHER_DISK}"), HasSubstr("export MICRODIT_ENV_ALLOW=OTHER_DISK"));
  EXPECT_THAT(mistake("text: ${PROJECT}"),
              HasSubstr("MICRODIT_ENV_ALLOW"));  // a beginning of an allowed name is none
  for (const char* name :
       {"HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MICRODIT_PASSWORD", "MICRODIT_token", "SLURM_KEY"}) {
    const Environment secret(name, "s3cret"), allowed("MICRODIT_ENV_ALLOW", name);
    const std::string said = mistake(fmt::format("text: x${{{}}}", name));
    EXPECT_THAT(said, HasSubstr("may hold a secret")) << name;
    EXPECT_THAT(said, testing::Not(HasSubstr("s3cret"))) << name;
  }
}

TEST_F(ConfigFiles, EnvironmentVariables) {
  const Environment scratch("MICRODIT_TEST_SCRATCH", "/scratch"), unset("MICRODIT_TEST_UNSET", nullptr);
  EXPECT_EQ(read("text: ${MICRODIT_TEST_SCRATCH}/x/${MICRODIT_TEST_SCRATCH}").text, "/scratch/x//scratch");
  EXPECT_EQ(read("text: a", {"text=${MICRODIT_TEST_SCRATCH}"}).text, "/scratch");
  EXPECT_EQ(read("text: 'cost $5 and $${NAME} $$'").text, "cost $5 and ${NAME} $$");
  EXPECT_EQ(mistake("lr: 1\ntext: ${MICRODIT_TEST_UNSET}/x"),
            (folder_ / "main.yaml").string() + ":2: the environment variable MICRODIT_TEST_UNSET is not set");
  EXPECT_EQ(read("text: ${MICRODIT_TEST_UNSET}", {"text=b"}).text, "b");  // replaced before it is needed
  for (const char* bad : {"'${'", "'${}'", "'${a b}'", "'${1A}'"}) {
    EXPECT_THAT(mistake(fmt::format("text: {}", bad)), HasSubstr("${NAME}")) << bad;
  }
  folder_.write("named.yaml", "lr: 5");
  const Environment file("MICRODIT_TEST_FILE", "named.yaml");
  EXPECT_EQ(read("extends: ${MICRODIT_TEST_FILE}").lr, 5);
}

TEST_F(ConfigFiles, DataRootHasADefault) {
  {
    const Environment data("MICRODIT_DATA", nullptr);
    EXPECT_EQ(data_root(), std::filesystem::current_path() / "data");
    EXPECT_EQ(read("text: ${MICRODIT_DATA}/raw").text,
              (std::filesystem::current_path() / "data/raw").string());
  }
  const Environment data("MICRODIT_DATA", "/big/disk");
  EXPECT_EQ(data_root(), "/big/disk");
  EXPECT_EQ(read("text: ${MICRODIT_DATA}/raw").text, "/big/disk/raw");
}

}  // namespace
}  // namespace microdit::core

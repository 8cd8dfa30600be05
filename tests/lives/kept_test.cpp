// What a job keeps for its later lives: complete, or nothing.
#include "lives/kept.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/error.h"
#include "core/json.h"
#include "fake_slurm.h"

namespace microdit::lives {
namespace {

namespace fs = std::filesystem;

class KeptTest : public testing::Test {
 protected:
  KeptTest() {
    fs::create_directories(root() / "installed" / "bin");
    fs::create_directories(root() / "installed" / "lib");
    fs::create_directory_symlink("installed/bin", root() / "bin");
    std::ofstream(root() / "bin" / "train") << "#!/bin/sh\necho train of $MARK revision 5\n";
    fs::permissions(root() / "bin" / "train", fs::perms::owner_all);
    for (const char* name : {"job.sbatch", "env.sh", "site.sh"}) core::atomic_write(root() / name, name);
    stage = {.name = "train",
             .arguments = {"lr=1"},
             .bin = root() / "bin",
             .script = root() / "job.sbatch",
             .env = root() / "env.sh",
             .site = root() / "site.sh"};
  }
  fs::path root() const { return fake.folder(); }

  FakeSlurm fake;
  Stage stage;
  const Surroundings here{.job = "17", .key = "17", .nodes = "n[1-2]", .ranks = 4};
  const Kept kept{root() / "runs" / "a" / "life" / "17"};
};

TEST_F(KeptTest, HoldsWhatLaterLivesRun) {
  kept.create(stage, "name: a\n", here);
  EXPECT_EQ(core::read_text(kept.config()), "name: a\n");
  for (const char* name : {"job.sbatch", "env.sh", "site.sh"})
    EXPECT_EQ(core::read_text(kept.folder() / name), name);
  for (const char* name : {"train", "life"})
    EXPECT_EQ(::access((kept.folder() / "bin" / name).c_str(), X_OK), 0) << name;
  // An installed program looks for its libraries in ../lib.
  EXPECT_EQ(fs::canonical(kept.folder() / "lib"), fs::canonical(root() / "installed" / "lib"));
  const core::Json about = core::read_json(kept.folder() / "about.json");
  EXPECT_EQ(about["program"], "train of revision 5");
  EXPECT_EQ(about["arguments"], (core::Json{"train", "lr=1"}));
  EXPECT_EQ(about["nodes"], "n[1-2]");
}

TEST_F(KeptTest, WithWhatGpuCheckProved) {
  kept.create(stage, "name: a\n", here);
  EXPECT_FALSE(fs::exists(kept.folder() / "gpu_check.json"));
  core::atomic_write(root() / "installed" / "gpu_check.json", "{}");  // beside the programs' folder
  kept.create(stage, "name: a\n", here);
  EXPECT_EQ(core::read_text(kept.folder() / "gpu_check.json"), "{}");
}

TEST_F(KeptTest, BehindThePrefix) {
  stage.prefix = {"env", "MARK=an-image"};
  kept.create(stage, "name: a\n", here);
  EXPECT_EQ(core::read_json(kept.folder() / "about.json")["program"], "train of an-image revision 5");
  stage.prefix = {"false"};  // the image does not start
  EXPECT_THROW(kept.create(stage, "name: a\n", here), core::SystemError);
}

TEST_F(KeptTest, CompleteOrNotAtAll) {
  fs::remove(stage.site);
  EXPECT_ANY_THROW(kept.create(stage, "name: a\n", here));
  EXPECT_TRUE(fs::is_empty(root() / "runs" / "a" / "life"));
}

TEST_F(KeptTest, RemovedWithEmptyFoldersAboveIt) {
  kept.create(stage, "name: a\n", here);
  const Kept other(kept.folder().parent_path() / "18");
  other.create(stage, "name: a\n", here);
  other.remove();
  EXPECT_TRUE(fs::exists(kept.config()));
  kept.remove();
  EXPECT_FALSE(fs::exists(root() / "runs" / "a"));
}

TEST_F(KeptTest, OneLinePerLife) {
  kept.create(stage, "name: a\n", here);
  kept.record({{"life", 1}});
  kept.record({{"life", 2}});
  EXPECT_EQ(core::read_text(kept.folder() / "lives.jsonl"), "{\"life\":1}\n{\"life\":2}\n");
}

TEST_F(KeptTest, TheProgramSaysWhereTheRunLies) {
  std::ofstream(root() / "bin" / "train")
      << "#!/bin/sh\nprintf 'name: \"my run\"\\nmodel:\\n  name: x\\nruns: /a/b\\n'\n";
  EXPECT_EQ(resolve(stage).run, "/a/b/my run");
  std::ofstream(root() / "bin" / "train") << "#!/bin/sh\nexit 2\n";
  EXPECT_THROW(resolve(stage), Refused);
  EXPECT_THROW(check_settings(stage), Refused);
}

}  // namespace
}  // namespace microdit::lives

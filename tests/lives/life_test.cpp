// A whole life with stand-ins: what is kept, what a refused start leaves, which arguments a program gets.
#include "lives/life.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/json.h"
#include "fake_slurm.h"

namespace microdit::lives {
namespace {

namespace fs = std::filesystem;

TEST(Life, ArgumentsOfAStage) {
  const Variable none("MICRODIT_ARGS", "device=cpu  steps=5");
  Stage stage;
  EXPECT_EQ(read_stage({"train", "--config", "d.yaml", "--", "lr=1"}, stage), (Words{"lr=1"}));
  EXPECT_EQ(stage.arguments, (Words{"--config", "d.yaml", "device=cpu", "steps=5", "lr=1"}));
  read_stage({"train", "--config", "d.yaml", "--", "--config", "my own.yaml"}, stage = {});
  EXPECT_EQ(stage.arguments, (Words{"device=cpu", "steps=5", "--config", "my own.yaml"}));
  read_stage({"generate", "--run", "runs/d", "--prompts", "p", "--", "--run=runs/e"}, stage = {});
  EXPECT_EQ(stage.arguments, (Words{"device=cpu", "steps=5", "--run=runs/e"}));
  EXPECT_THROW(read_stage({"train", "lr=1"}, stage), core::UserError);
}

TEST(Life, TasksOfAnArray) {
  const Variable id("SLURM_ARRAY_TASK_ID", "3"), tasks("MICRODIT_TASKS", "8"), none("MICRODIT_ARGS", "");
  Stage stage;
  read_stage({"clean", "--"}, stage);
  EXPECT_EQ(stage.arguments, (Words{"task=3/8"}));
  read_stage({"clean", "--", "task=0/1"}, stage = {});
  EXPECT_EQ(stage.arguments, (Words{"task=0/1"}));
  read_stage({"score", "--"}, stage = {});
  EXPECT_EQ(stage.arguments, (Words{"task=3/8"}));
  read_stage({"train", "--"}, stage = {});
  EXPECT_TRUE(stage.arguments.empty());
  const Variable share("MICRODIT_TASK", "1/3");  // of a task that goes on as a job of its own
  read_stage({"clean", "--"}, stage = {});
  EXPECT_EQ(stage.arguments, (Words{"task=1/3"}));
}

class LifeTest : public testing::Test {
 protected:
  LifeTest() {
    for (const char* name : {"bin", "data"}) fs::create_directories(root() / name);
    for (const char* name : {"job.sbatch", "env.sh", "site.sh"}) core::atomic_write(root() / name, name);
    fake.program("scontrol", std::string("echo '") + kRunning + "'");
    fake.program("squeue", "exit 0");
    // NO_RANK: that many launches start none.
    program("launcher", "cd " + root().string() +
                            "\nif [ -n \"$NO_RANK\" ]; then echo x >>launches; "
                            "[ $(grep -c . launches) -gt $NO_RANK ] || exit 1; fi\n"
                            "while [ \"$1\" != -- ]; do [ \"$1\" != --mark ] || : >\"$2\"; shift; done\n"
                            "shift; exec \"$@\"");
    program(
        "train",
        "case \"$*\" in *--check-settings) exit ${CHECK:-0} ;;\n"
        "*--print-config) printf 'name: \"a\"  # x.yaml:1\\nruns: %s  # default\\n' '" +
            (root() / "runs").string() +
            "' ;;\n"
            "--version) echo train 1 ;;\n*) " +
            "echo \"$*\" >>" + root().string() +
            "/started; "
            "[ -z \"$PUBLISH\" ] || echo x >\"$MICRODIT_PROGRESS\"; eval \"$THEN\"; exit ${CODE:-0} ;; esac");
  }
  fs::path root() const { return fake.folder(); }
  void program(const std::string& name, const std::string& body) const {
    std::ofstream(root() / "bin" / name) << "#!/bin/sh\n" << body << "\n";
    fs::permissions(root() / "bin" / name, fs::perms::owner_all);
  }
  /// In a process of its own: a life takes the signals of its process. 200: Refused.
  int live(const Surroundings& here) const {
    const pid_t child = ::fork();
    if (child == 0) {
      Stage stage{.name = "train",
                  .bin = root() / "bin",
                  .script = root() / "job.sbatch",
                  .env = root() / "env.sh",
                  .site = root() / "site.sh",
                  .state = has_state ? root() / "state" / here.key : ""};
      // Ranks are started through this program, and the test's own is no life: the launcher does its part.
      stage.launcher = {(root() / "bin" / "launcher").string()};
      stage.arguments = arguments;
      try {
        ::_exit(lives::live(stage, arguments, here, fake.slurm()));
      } catch (const Refused& refused) {
        ::_exit(200 + refused.exit_code);
      } catch (const std::exception& error) {
        ::_exit(100 + core::judge(error).exit_code);
      }
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static Surroundings job(const std::string& id, std::int64_t restart_count = 0) {
    return {.job = id, .key = id, .nodes = "n1", .host = "n1", .restart_count = restart_count};
  }
  std::string started() const {
    return fs::exists(root() / "started") ? core::read_text(root() / "started") : "";
  }
  bool called(const std::string& text) const { return fake.calls().find(text) != std::string::npos; }
  /// A first life that saves its work and is requeued.
  void live_once() const {
    const Variable code("CODE", "75"), publish("PUBLISH", "1");
    ASSERT_EQ(live(job("17")), 75);
    ASSERT_TRUE(called("scontrol requeue 17"));
  }
  fs::path kept(const std::string& id) const { return root() / "runs" / "a" / "life" / id; }

  FakeSlurm fake;
  Words arguments{"lr=1"};
  bool has_state = true;
};

TEST_F(LifeTest, ARefusedStartLeavesNothing) {
  const Variable check("CHECK", "2");
  EXPECT_EQ(live(job("17")), 202);
  EXPECT_FALSE(fs::exists(root() / "runs"));
  EXPECT_FALSE(fs::exists(root() / "state" / "17"));
}

TEST_F(LifeTest, AMissingProgramIsTheUsersMistake) {
  fs::remove(root() / "bin" / "train");
  EXPECT_EQ(live(job("17")), 102);
  EXPECT_FALSE(fs::exists(root() / "state" / "17"));
}

TEST_F(LifeTest, ADoneLifeSaysNothingOfProgress) {
  for (const auto& [code, said] :
       {std::pair{"0", "exit code 0\n"}, std::pair{"3", "exit code 3, no progress\n"}}) {
    const Variable exit_code("CODE", code);
    testing::internal::CaptureStderr();
    EXPECT_EQ(live(job("17")), std::stoi(code));
    EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr(said));
  }
}

TEST_F(LifeTest, ASecondJobHarmsNothing) {
  fs::create_directories(kept("17").parent_path());
  core::write_json(kept("17").parent_path() / "owner", {{"job", "17"}, {"cluster", ""}});
  fake.program("squeue", "echo RUNNING n1");
  EXPECT_EQ(live(job("18")), 102);
  EXPECT_FALSE(fs::exists(kept("18")));
  EXPECT_TRUE(fs::exists(kept("17").parent_path() / "owner"));
}

TEST_F(LifeTest, BookkeepingThatCannotBeWritten) {
  core::atomic_write(root() / "state", "a file");
  EXPECT_EQ(live(job("17")), 102);
}

TEST_F(LifeTest, QuestionsAreNoLife) {
  for (const char* question : {"--dry-run", "--help"}) {
    arguments = {"lr=1", question};
    EXPECT_EQ(live(job("17")), 0);
    EXPECT_NE(started().find(std::string("lr=1 ") + question + "\n"), std::string::npos);
  }
  arguments = {"lr=1", "--check-settings"};
  const Variable check("CHECK", "2");
  EXPECT_EQ(live(job("17")), 2);
  EXPECT_FALSE(fs::exists(root() / "runs"));
  EXPECT_FALSE(fs::exists(root() / "state"));
  EXPECT_EQ(fake.calls(), "");
}

TEST_F(LifeTest, WithoutAScriptOfItsOwnItIsNoLife) {  // in salloc: stages share the job's number
  has_state = false;
  const Variable code("CODE", "75");
  EXPECT_EQ(live(job("17")), 75);
  EXPECT_EQ(started(), "lr=1\n");
  EXPECT_FALSE(fs::exists(root() / "runs"));
  EXPECT_EQ(fake.calls(), "");
}

TEST_F(LifeTest, AFullOrVanishedBookkeepingCostsNoLife) {
  const Variable code("CODE", "75"), then("THEN", "rm -rf " + (root() / "state").string());
  EXPECT_EQ(live(job("17")), 75);
  EXPECT_TRUE(called("scontrol requeue 17"));
}

TEST_F(LifeTest, ALauncherThatFailsBeforeARankIsAskedAgain) {
  const Variable no_rank("NO_RANK", "2");
  EXPECT_EQ(live(job("17")), 0);
  EXPECT_EQ(core::read_text(root() / "launches"), "x\nx\nx\n");
  EXPECT_NE(started(), "");
}

TEST_F(LifeTest, NoRankOfALaterLifeIsAFault) {
  {
    const Variable no_rank("NO_RANK", "99");
    EXPECT_EQ(live(job("16")), 1);
    EXPECT_FALSE(called("scontrol requeue"));
  }
  live_once();
  const Variable no_rank("NO_RANK", "99");
  live(job("17", 1));
  EXPECT_NE(fake.calls().find("requeue 17"), fake.calls().rfind("requeue 17"));
}

TEST_F(LifeTest, ARefusalOfALaterLifeIsAFaultUnlessTheRunIsLost) {
  live_once();
  const Variable code("CODE", "2");
  live(job("17", 1));
  EXPECT_NE(fake.calls().find("requeue 17"), fake.calls().rfind("requeue 17"));
  EXPECT_TRUE(fs::exists(kept("17")));
  core::write_json(kept("17").parent_path() / "owner", {{"job", "18"}, {"cluster", ""}});
  fake.program("squeue", "echo RUNNING n1");
  EXPECT_EQ(live(job("17", 2)), 102);
}

TEST_F(LifeTest, SlurmsSilenceBlamesNoNode) {
  fs::create_directories(kept("17").parent_path());
  core::write_json(kept("17").parent_path() / "owner", {{"job", "16"}, {"cluster", ""}});
  fake.program("squeue", kBusy);
  EXPECT_EQ(live(job("17")), 76);
  EXPECT_TRUE(called("scontrol requeue 17"));
  EXPECT_FALSE(called("ExcNodeList"));
}

TEST_F(LifeTest, RanksThatDoNotStopAreKilledAndTheJobGoesOn) {
  const Variable publish("PUBLISH", "1"), then("THEN", "trap '' USR1; kill -USR1 $PPID; exec sleep 120");
  Surroundings here = job("17");
  here.stop_seconds = 1;
  EXPECT_GT(live(here), 128);  // of the launcher that was killed
  EXPECT_TRUE(called("scontrol requeue 17"));
}

}  // namespace
}  // namespace microdit::lives

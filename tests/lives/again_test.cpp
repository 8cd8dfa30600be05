// Requeue, resubmission, and what must never happen: reviving a job that a person has ended.
#include "lives/again.h"

#include <gtest/gtest.h>

#include "fake_slurm.h"

namespace microdit::lives {
namespace {

class AgainTest : public testing::Test {
 protected:
  Again live(const std::string& avoid = "", bool terminated = false) {
    const Slurm slurm = fake.slurm();
    return live_again({here, stage, arguments, "job.sbatch", avoid, terminated}, slurm);
  }
  bool called(const std::string& text) const { return fake.calls().find(text) != std::string::npos; }

  /// show: what show prints; requeue: what the other does.
  void scontrol(const std::string& show, const std::string& requeue) {
    fake.program(
        "scontrol",
        "case \"$1 $2\" in\n'show job') " + show +
            " ;;\n'show hostnames') echo \"$3\" | tr , '\\n' ;;\n'show partition') echo PartitionName=gpu "
            "TotalNodes=3 ;;\nrequeue*) " +
            requeue + " ;;\nesac");
  }

  FakeSlurm fake;
  Surroundings here{.job = "17", .key = "17"};
  Stage stage{.name = "train"};
  Words arguments{"--config", "a b.yaml"};
  const std::string running = std::string("echo '") + kRunning + "'";
};

TEST_F(AgainTest, Requeues) {
  scontrol(running, "exit 0");
  const Again again = live();
  EXPECT_TRUE(again.lives);
  EXPECT_EQ(again.text, "requeued");
  EXPECT_TRUE(called("scontrol requeue 17\n"));
}

TEST_F(AgainTest, AnArrayTaskAlone) {
  scontrol(running, "exit 0");
  here.job = here.key = "17_3";
  EXPECT_TRUE(live().lives);
  EXPECT_TRUE(called("scontrol requeue 17_3\n"));
}

TEST_F(AgainTest, WithoutTheFaultyNode) {
  scontrol("echo 'JobState=RUNNING Partition=gpu ExcNodeList=n9'", "exit 0");
  EXPECT_EQ(live("n1").text, "requeued, without n1");
  EXPECT_TRUE(called("scontrol update JobId=17 ExcNodeList=n9,n1\n"));
}

TEST_F(AgainTest, TheLastNodesStayAllowed) {
  scontrol("echo 'JobState=RUNNING Partition=gpu ExcNodeList=n9'", "exit 0");
  here.num_nodes = 2;
  EXPECT_NE(live("n1").text.find("n1 stays allowed"), std::string::npos);
  EXPECT_FALSE(called("update"));
}

TEST_F(AgainTest, WhatIsBeingCancelledStaysSo) {
  scontrol("echo 'JobState=COMPLETING Reason=None'", "exit 0");
  const Again again = live("", true);
  EXPECT_FALSE(again.lives);
  EXPECT_NE(again.text.find("left to Slurm; if the job does not start again"), std::string::npos);
  EXPECT_FALSE(called("requeue"));
}

TEST_F(AgainTest, ABusyControllerIsAskedAgain) {
  scontrol(std::string("[ $calls -gt 6 ] || { ") + kBusy + "; }; " + running,
           std::string("[ $calls -gt 6 ] || { ") + kBusy + "; }");
  EXPECT_TRUE(live().lives);
}

TEST_F(AgainTest, RequeuesInDoubtUnlessItWasTerminated) {
  scontrol(kBusy, "exit 0");
  EXPECT_TRUE(live().lives);
  const Again again = live("", true);  // requeue would revive it
  EXPECT_FALSE(again.lives);
  EXPECT_NE(again.text.find("Slurm did not answer"), std::string::npos);
}

TEST_F(AgainTest, SubmitsItselfWhereRequeueIsRefused) {
  scontrol(
      "echo 'JobState=RUNNING JobName=my job Partition=gpu TimeLimit=1-00:00:00 Requeue=1 Comment=a b "
      "StdErr=/e StdOut=/o Nice=5 TresPerNode=gres:gpu:2'",
      "echo 'Requested operation is presently disabled for job 17' >&2; exit 1");
  fake.program("sbatch", "echo 20");
  fake.program("squeue", "exit 0");
  const Again again = live("n1");
  EXPECT_TRUE(again.lives);
  EXPECT_EQ(again.successor, "20");
  EXPECT_EQ(again.exit_code, 75);
  for (const char* word :
       {"--parsable", "--dependency=afterany:17", "--time=1-00:00:00", "--gpus-per-node=0 --gres=gpu:2 ",
        "--comment=a b ", "--job-name=my job ", "--error=/e ", "--nice=5 ", "--exclude=n1",
        "--export=ALL,MICRODIT_CONTINUES=17 job.sbatch --config a b.yaml"})
    EXPECT_TRUE(called(word)) << word << "\n" << fake.calls();
}

TEST_F(AgainTest, AsksForTheGpusThatTheJobHas) {
  const auto words = [&](const JobFacts& facts) {
    std::string line;
    for (const std::string& word : same_options(facts, here))
      if (word.starts_with("--g")) line += word + " ";
    return line;
  };
  EXPECT_EQ(words({}), "--gpus-per-node=0 ");  // the script's must not come back
  EXPECT_EQ(words({{"TresPerNode", "gres:gpu:0"}}), "--gpus-per-node=0 ");
  EXPECT_EQ(words({{"TresPerNode", "gres:gpu:0,gres:gpu:1"}}), "--gpus-per-node=0 --gres=gpu:1 ");
  EXPECT_EQ(words({{"TresPerNode", "gres/gpu:h100:4,gres/fast=1"}}),
            "--gpus-per-node=0 --gres=gpu:h100:4,fast:1 ");
  EXPECT_EQ(words({{"TresPerNode", "gres:gpu:0"}, {"TresPerTask", "cpu=4,gres/gpu=1"}}),
            "--gpus-per-node=0 --gpus-per-task=1 ");
  EXPECT_EQ(words({{"TresPerJob", "gres:gpu:h100:8"}}), "--gpus-per-node=0 --gpus=h100:8 ");
}

TEST_F(AgainTest, NoRequeueIsTheUsersWord) {
  const std::string facts =
      "echo 'JobState=RUNNING Partition=gpu Requeue=0 Command=/r/s.sbatch --config a b.yaml'";
  scontrol(facts, "echo 'Requested operation is presently disabled for job 17' >&2; exit 1");
  fake.program("sbatch", "echo 20");
  fake.program("squeue", "exit 0");
  const Again again = live();
  EXPECT_FALSE(again.lives);
  EXPECT_TRUE(again.is_over);
  EXPECT_FALSE(called("sbatch"));
  EXPECT_NE(again.text.find("sbatch --no-requeue /r/s.sbatch --config 'a b.yaml'"), std::string::npos)
      << again.text;
  here.resubmit = true;  // the site's word, whose jobs may all be so
  EXPECT_EQ(live().successor, "20");
  EXPECT_TRUE(called("--no-requeue"));
}

TEST_F(AgainTest, ALostAnswerMakesNoSecondSuccessor) {
  scontrol(running, "exit 0");
  here.resubmit = true;
  fake.program("sbatch", kBusy);
  fake.program("squeue",
               "case \"$*\" in *%o*) echo '19|afterany:17(unfulfilled)|other.sbatch'; "
               "echo '20|afterany:17(unfulfilled)|job.sbatch --config a b.yaml' ;; esac");
  EXPECT_EQ(live().successor, "20");
  EXPECT_EQ(fake.calls().find("sbatch --parsable"), fake.calls().rfind("sbatch --parsable"));
  EXPECT_TRUE(called("squeue -h -t PENDING -o %F|%E|%o"));
}

TEST_F(AgainTest, SubmitsItselfWhereTheSiteWantsIt) {
  scontrol(running, "exit 0");
  fake.program("sbatch", std::string("[ $calls -gt 2 ] || { ") + kBusy + "; }; echo 20");
  fake.program("squeue", "exit 0");
  here.resubmit = true;
  here.key = "5";  // the job of the first life
  EXPECT_EQ(live().successor, "20");
  EXPECT_TRUE(called("MICRODIT_CONTINUES=5 "));
  EXPECT_FALSE(called("requeue"));
}

TEST_F(AgainTest, OneTaskOfAnArrayKeepsItsShare) {
  const Variable array("SLURM_ARRAY_TASK_ID", "5"), first("SLURM_ARRAY_TASK_MIN", "3"),
      last("SLURM_ARRAY_TASK_MAX", "7"), step("SLURM_ARRAY_TASK_STEP", "2"),
      count("SLURM_ARRAY_TASK_COUNT", "3");
  scontrol(running, "exit 0");
  fake.program("sbatch", "echo 20");
  fake.program("squeue", "echo '30 afterok:17_*(unfulfilled)'");
  here.resubmit = true;
  here.job = here.key = "17_5";
  const Again again = live();
  EXPECT_EQ(again.exit_code, 0);  // the array must not fail by it
  EXPECT_TRUE(called("--array=5 "));
  EXPECT_TRUE(called("MICRODIT_CONTINUES=17_5,MICRODIT_TASK=1/3 "));
  EXPECT_TRUE(called("update JobId=30 Dependency=afterok:17,afterok:20\n"));
}

}  // namespace
}  // namespace microdit::lives

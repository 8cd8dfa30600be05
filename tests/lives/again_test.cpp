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
  EXPECT_NE(again.text.find("not requeued"), std::string::npos);
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
      "echo 'JobState=RUNNING JobName=x Partition=gpu TimeLimit=1-00:00:00 Requeue=0 TresPerNode=gres:gpu:2'",
      "echo 'Requested operation is presently disabled for job 17' >&2; exit 1");
  fake.program("sbatch", "echo 20");
  fake.program("squeue", "exit 0");
  const Again again = live("n1");
  EXPECT_TRUE(again.lives);
  EXPECT_EQ(again.successor, "20");
  EXPECT_EQ(again.exit_code, 75);
  for (const char* word :
       {"--parsable", "--dependency=afterany:17", "--time=1-00:00:00", "--gres=gpu:2", "--no-requeue",
        "--exclude=n1", "--export=ALL,MICRODIT_CONTINUES=17 job.sbatch --config a b.yaml"})
    EXPECT_TRUE(called(word)) << word << "\n" << fake.calls();
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

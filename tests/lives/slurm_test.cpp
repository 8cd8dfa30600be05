// Slurm's answers, sorted: yes, no, silence.
#include "lives/slurm.h"

#include <gtest/gtest.h>

#include "fake_slurm.h"

namespace microdit::lives {
namespace {

TEST(Slurm, FactsOfAJob) {
  FakeSlurm fake;
  fake.program("scontrol", std::string("echo '") + kRunning + "'");
  const auto facts = fake.slurm().facts("17");
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->at("JobState"), "RUNNING");
  EXPECT_FALSE(facts->contains("ExcNodeList"));
  EXPECT_TRUE(goes_on(*facts));
  fake.program("scontrol", kBusy);
  EXPECT_FALSE(fake.slurm().facts("17"));
  fake.program("scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
  EXPECT_FALSE(goes_on(fake.slurm().facts("17").value()));
}

TEST(Slurm, WhoGoesOn) {
  EXPECT_TRUE(goes_on({{"JobState", "RUNNING"}}));
  EXPECT_TRUE(goes_on({{"JobState", "COMPLETING"}, {"Reason", "TimeLimit"}}));
  EXPECT_FALSE(goes_on({{"JobState", "COMPLETING"}, {"Reason", "None"}}));
  EXPECT_FALSE(goes_on({{"JobState", "CANCELLED"}}));
}

TEST(Slurm, HolderSilenceIsNotFree) {
  FakeSlurm fake;
  fake.program("squeue", "echo 'RUNNING n[1-2]'");
  EXPECT_EQ(fake.slurm().holder("17", "").value().where, "RUNNING on n[1-2]");
  fake.program("squeue", "echo 'PENDING '");
  EXPECT_TRUE(fake.slurm().holder("17", "").value().holds);
  fake.program("squeue", "exit 0");
  EXPECT_FALSE(fake.slurm().holder("17", "").value().holds);
  fake.program("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
  EXPECT_FALSE(fake.slurm().holder("17", "").value().holds);
  fake.program("squeue", kBusy);
  EXPECT_FALSE(fake.slurm().holder("17", ""));
}

TEST(Slurm, HolderOnAnotherCluster) {
  FakeSlurm fake;
  const Variable cluster("SLURM_CLUSTER_NAME", "here");
  fake.program("squeue", "echo 'CLUSTER: there'; echo 'RUNNING x7'");
  EXPECT_EQ(fake.slurm().holder("17", "there").value().where, "RUNNING on x7");
  EXPECT_NE(fake.calls().find("-M there"), std::string::npos);
}

TEST(Slurm, ACallThatHangsIsSilence) {
  FakeSlurm fake;
  fake.program("scontrol", "exec sleep 60");
  const Slurm slurm({.one_call = std::chrono::seconds(1)});
  EXPECT_EQ(slurm.requeue("17").kind, Reply::silence);
}

TEST(Slurm, RefusalsAndSilence) {
  FakeSlurm fake;
  fake.program("scontrol", "exit 0");
  EXPECT_EQ(fake.slurm().requeue("17").kind, Reply::yes);
  fake.program("scontrol", "echo 'Requested operation is presently disabled for job 17' >&2; exit 1");
  EXPECT_EQ(fake.slurm().requeue("17").kind, Reply::no);
  fake.program("scontrol", "echo 'Access/permission denied' >&2; exit 1");
  EXPECT_EQ(fake.slurm().requeue("17").kind, Reply::no);
  fake.program("scontrol", "exit 1");
  EXPECT_EQ(fake.slurm().requeue("17").kind, Reply::silence);
  fake.program("scontrol", kBusy);
  EXPECT_EQ(fake.slurm().requeue("17").kind, Reply::silence);
}

TEST(Slurm, InsistsUntilPatienceIsOver) {
  FakeSlurm fake;
  fake.program("scontrol", std::string("[ $calls -gt 5 ] || { ") + kBusy + "; }");
  const Slurm slurm = fake.slurm();
  EXPECT_EQ(slurm.insist([&] { return slurm.requeue("17"); }).kind, Reply::yes);
  fake.program("scontrol", kBusy);
  EXPECT_EQ(slurm.insist([&] { return slurm.requeue("17"); }).kind, Reply::silence);
}

TEST(Slurm, NewDependency) {
  EXPECT_EQ(with_successor("afterok:17(unfulfilled)", "17", "20", false), "afterok:20");
  EXPECT_EQ(with_successor("afterany:9(unfulfilled),afterok:17(unfulfilled)", "17", "20", false),
            "afterany:9,afterok:20");
  EXPECT_EQ(with_successor("afterok:17_*(unfulfilled)", "17", "20", true), "afterok:17,afterok:20");
  EXPECT_EQ(with_successor("afterok:170(unfulfilled)", "9", "20", false), "");
  EXPECT_EQ(with_successor("singleton(unfulfilled)", "17", "20", false), "");
  EXPECT_FALSE(with_successor("afterok:17(unfulfilled)?afterok:9(unfulfilled)", "17", "20", false));
}

TEST(Slurm, MovesDependents) {
  FakeSlurm fake;
  fake.program("squeue",
               "echo '30 afterok:17(unfulfilled)'; echo '31 '; echo '20 afterany:17(unfulfilled)'; echo '32 "
               "afterok:5'");
  fake.program("scontrol", "exit 0");
  EXPECT_TRUE(fake.slurm().move_dependents("17", "20"));
  EXPECT_NE(fake.calls().find("scontrol update JobId=30 Dependency=afterok:20\n"), std::string::npos);
  EXPECT_EQ(fake.calls().find("JobId=20"), std::string::npos);  // the successor itself waits for us
  fake.program("scontrol", "exit 1");
  EXPECT_FALSE(fake.slurm().move_dependents("17", "20"));
}

}  // namespace
}  // namespace microdit::lives

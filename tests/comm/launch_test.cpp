// Launch evidence and shares, from the environments that launchers really set.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>

#include "comm/communicator.h"
#include "core/error.h"

namespace microdit::comm {
namespace {

// Sets the variables that matter to `wanted`, everything else of theirs to unset, and restores all at the
// end.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& wanted) {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE",
                             "OMPI_COMM_WORLD_RANK",
                             "OMPI_COMM_WORLD_LOCAL_RANK",
                             "PMI_SIZE",
                             "PMI_RANK",
                             "PMI_FD",
                             "PMIX_RANK",
                             "MPI_LOCALRANKID",
                             "SLURM_STEP_NUM_TASKS",
                             "SLURM_STEP_ID",
                             "SLURM_SRUN_COMM_HOST",
                             "SLURM_PROCID",
                             "SLURM_LOCALID",
                             "SLURM_NTASKS",
                             "SLURM_JOB_ID",
                             "SLURM_ARRAY_TASK_ID",
                             "SLURM_ARRAY_TASK_MIN",
                             "SLURM_ARRAY_TASK_MAX",
                             "SLURM_ARRAY_TASK_STEP",
                             "SLURM_ARRAY_TASK_COUNT"}) {
      const char* old = std::getenv(name);
      saved_.emplace_back(name, old != nullptr ? std::optional<std::string>(old) : std::nullopt);
      const auto it = wanted.find(name);
      set(name, it != wanted.end() ? std::optional(it->second) : std::nullopt);
    }
  }
  ~Environment() {
    for (const auto& [name, old] : saved_) set(name, old);
  }

 private:
  static void set(const std::string& name, const std::optional<std::string>& text) {
    if (text) {
      setenv(name.c_str(), text->c_str(), 1);
    } else {
      unsetenv(name.c_str());
    }
  }
  std::vector<std::pair<std::string, std::optional<std::string>>> saved_;
};

TEST(Launch, PlainShellIsOneProcess) {
  const Environment environment({});
  const Launch launch = detect_launch();
  EXPECT_FALSE(launch.has_launcher);
  EXPECT_EQ(launch.num_tasks, 1);
}

TEST(Launch, BatchScriptWithoutSrunIsOneProcess) {
  const Environment environment(
      {{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}});
  EXPECT_FALSE(detect_launch().has_launcher);
  EXPECT_EQ(make_communicator()->size(), 1);
}

TEST(Launch, StepOfSrun) {
  std::map<std::string, std::string> step = {{"SLURM_JOB_ID", "7"},
                                             {"SLURM_NTASKS", "4"},
                                             {"SLURM_STEP_NUM_TASKS", "4"},
                                             {"SLURM_STEP_ID", "0"},
                                             {"SLURM_SRUN_COMM_HOST", "10.0.0.1"},
                                             {"SLURM_PROCID", "3"},
                                             {"SLURM_LOCALID", "1"},
                                             {"PMIX_RANK", "3"}};
  {
    const Environment environment(step);
    const Launch launch = detect_launch();
    EXPECT_TRUE(launch.has_launcher);
    EXPECT_EQ(launch.num_tasks, 4);
    EXPECT_EQ(launch.rank, 3);
    EXPECT_EQ(launch.local_rank, 1);
    EXPECT_EQ(launch.launcher, "srun");
    EXPECT_TRUE(launch.has_wire_up);
  }
  step.erase("PMIX_RANK");
  const Environment environment(step);
  EXPECT_FALSE(detect_launch().has_wire_up);
  try {
    make_communicator();
    FAIL() << "4 tasks without an MPI plugin became a communicator";
  } catch (const core::UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("srun --mpi=pmix"));
  }
}

TEST(Launch, MpirunInsideAnAllocationWinsOverItsHelpersStep) {
  const Environment environment({{"SLURM_STEP_NUM_TASKS", "1"},
                                 {"SLURM_STEP_ID", "0"},
                                 {"SLURM_SRUN_COMM_HOST", "10.0.0.1"},
                                 {"SLURM_PROCID", "0"},
                                 {"OMPI_COMM_WORLD_SIZE", "6"},
                                 {"OMPI_COMM_WORLD_RANK", "5"},
                                 {"OMPI_COMM_WORLD_LOCAL_RANK", "2"}});
  const Launch launch = detect_launch();
  EXPECT_EQ(launch.num_tasks, 6);
  EXPECT_EQ(launch.rank, 5);
  EXPECT_EQ(launch.local_rank, 2);
}

TEST(Launch, MpiexecOfMpich) {
  const Environment environment({{"PMI_SIZE", "3"}, {"PMI_RANK", "1"}, {"MPI_LOCALRANKID", "0"}});
  const Launch launch = detect_launch();
  EXPECT_EQ(launch.num_tasks, 3);
  EXPECT_EQ(launch.launcher, "mpiexec");
}

TEST(Launch, OneTaskNeedsNoMpi) {
  const Environment environment(
      {{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_STEP_ID", "0"}, {"SLURM_SRUN_COMM_HOST", "10.0.0.1"}});
  EXPECT_EQ(make_communicator()->size(), 1);
}

Share alone(const std::string& task) {
  return share_of(*make_local_communicator(), task);
}

TEST(ShareOf, WithoutArrayTakesEverything) {
  const Environment environment({});
  EXPECT_EQ(alone("").slots, 1);
  EXPECT_TRUE(alone("").owns(12345));
}

TEST(ShareOf, TaskSpellsIndexAndCount) {
  const Environment environment({{"SLURM_ARRAY_TASK_ID", "1"},
                                 {"SLURM_ARRAY_TASK_MIN", "0"},
                                 {"SLURM_ARRAY_TASK_MAX", "1"},
                                 {"SLURM_ARRAY_TASK_COUNT", "2"}});
  EXPECT_EQ(alone("2/5").slot, 2);
  EXPECT_EQ(alone("2/5").slots, 5);
  EXPECT_TRUE(alone("2/5").owns(7));
  EXPECT_FALSE(alone("2/5").owns(8));
  for (const char* bad : {"5/5", "-1/5", "1", "1/", "/2", "a/2", "1/2/3", "0/0", " 0/1", "1/2x"}) {
    EXPECT_THROW(alone(bad), core::UserError) << bad;
  }
}

Environment array(const char* id, const char* first, const char* last, const char* step, const char* count) {
  return Environment({{"SLURM_ARRAY_TASK_ID", id},
                      {"SLURM_ARRAY_TASK_MIN", first},
                      {"SLURM_ARRAY_TASK_MAX", last},
                      {"SLURM_ARRAY_TASK_STEP", step},
                      {"SLURM_ARRAY_TASK_COUNT", count}});
}

TEST(ShareOf, ArraysMayStep) {
  const Environment environment = array("4", "0", "6", "2", "4");
  EXPECT_EQ(alone("").slot, 2);
  EXPECT_EQ(alone("").slots, 4);
}

TEST(ShareOf, APartOfAnArrayNeedsAWord) {
  for (const char* id : {"0", "3"}) {
    const Environment environment = array(id, id, id, "1", "1");
    try {
      alone("");
      ADD_FAILURE() << id;
    } catch (const core::UserError& error) {
      EXPECT_NE(std::string(error.what()).find("MICRODIT_TASKS=N"), std::string::npos) << error.what();
    }
    EXPECT_EQ(alone("3/4").slot, 3);
  }
  const Environment environment = array("2", "1", "2", "1", "2");
  EXPECT_THROW(alone(""), core::UserError);
}

// Under a real array: prints what this task takes, for a script to compare.
TEST(ShareOf, OfThisTask) {
  const Share share = alone("");
  std::printf("share %lld of %lld\n", static_cast<long long>(share.slot),
              static_cast<long long>(share.slots));
  EXPECT_LT(share.slot, share.slots);
}

TEST(ShareOf, AnArrayWithHolesIsRefused) {
  const Environment environment({{"SLURM_ARRAY_TASK_ID", "3"},
                                 {"SLURM_ARRAY_TASK_MIN", "1"},
                                 {"SLURM_ARRAY_TASK_MAX", "7"},
                                 {"SLURM_ARRAY_TASK_STEP", "1"},
                                 {"SLURM_ARRAY_TASK_COUNT", "3"}});
  EXPECT_THROW(alone(""), core::UserError);
  EXPECT_EQ(alone("1/3").slot, 1);
}

}  // namespace
}  // namespace microdit::comm

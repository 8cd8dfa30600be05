// One run, one job.
#include "lives/owner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "core/error.h"
#include "core/json.h"
#include "fake_slurm.h"

namespace microdit::lives {
namespace {

class OwnerTest : public testing::Test {
 protected:
  static Surroundings job(const std::string& id, bool take_over = false) {
    return {.job = id, .key = id, .host = "n1", .take_over = take_over};
  }
  void claim(const Surroundings& here) const { Owner(life(), here, slurm).claim(); }
  std::filesystem::path life() const { return fake.folder() / "runs" / "a" / "life"; }
  std::string owner() const { return core::read_json(life() / "owner").value("job", ""); }

  FakeSlurm fake;
  const Slurm slurm = fake.slurm();
};

TEST_F(OwnerTest, TheFirstHoldsWhileSlurmKnowsIt) {
  claim(job("17"));
  claim(job("17"));  // its next life
  fake.program("squeue", "echo 'RUNNING n[1-2]'");
  try {
    claim(job("18"));
    FAIL();
  } catch (const core::UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("job 17 holds this run (RUNNING on n[1-2]"));
    EXPECT_THAT(error.what(), testing::HasSubstr("MICRODIT_TAKE_OVER=1"));
  }
  EXPECT_EQ(owner(), "17");
  fake.program("squeue", "exit 0");
  claim(job("18"));
  EXPECT_EQ(owner(), "18");
}

TEST_F(OwnerTest, SilenceIsAFault) {
  claim(job("17"));
  fake.program("squeue", kBusy);
  EXPECT_THROW(claim(job("18")), core::FaultError);
  EXPECT_EQ(owner(), "17");
}

TEST_F(OwnerTest, AJobThatSlurmHidesMayLive) {
  fake.program("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
  claim(job("17"));
  core::Json other = core::read_json(life() / "owner");
  other["uid"] = other.at("uid").get<std::int64_t>() + 1;
  core::write_json(life() / "owner", other);
  try {
    claim(job("18"));
    FAIL();
  } catch (const Held& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("MICRODIT_TAKE_OVER=1"));
  }
  EXPECT_EQ(owner(), "17");
  claim(job("18", true));
  claim(job("19"));  // of the same user: gone
  EXPECT_EQ(owner(), "19");
}

TEST_F(OwnerTest, TakingOverIsForFirstLives) {
  claim(job("17"));
  fake.program("squeue", "echo 'RUNNING n1'");
  claim(job("18", true));
  EXPECT_EQ(owner(), "18");
  Surroundings robbed = job("17", true);
  robbed.restart_count = 1;
  EXPECT_THROW(claim(robbed), core::UserError);
}

TEST_F(OwnerTest, ReleasedAndHandedOver) {
  claim(job("17"));
  const Surroundings first = job("17"), other = job("18");
  Owner(life(), other, slurm).release();  // not its own
  EXPECT_EQ(owner(), "17");
  Owner(life(), first, slurm).hand_over("20");
  EXPECT_EQ(owner(), "20");
  const Surroundings heir{.job = "20", .key = "17"};
  Owner(life(), heir, slurm).release();
  EXPECT_FALSE(std::filesystem::exists(life() / "owner"));
  EXPECT_TRUE(std::filesystem::is_empty(life()));
}

TEST_F(OwnerTest, OfManyAtOnceOneWins) {
  fake.program("squeue", "case $3 in 1) exit 0 ;; *) echo RUNNING n1 ;; esac");  // 1 is gone, the others run
  claim(job("1"));
  std::atomic<int> won = 0;
  std::vector<std::thread> starters;
  for (int i = 0; i < 8; ++i) {
    starters.emplace_back([&, i] {
      const Surroundings here = job(std::to_string(100 + i));
      try {
        claim(here);
        ++won;
      } catch (const core::UserError&) {
      }
    });
  }
  for (std::thread& starter : starters) starter.join();
  EXPECT_EQ(won, 1);
}

}  // namespace
}  // namespace microdit::lives

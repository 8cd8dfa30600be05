// Kills, full disks, orphans, stale folders and retention: what is visible is always good.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <random>

#include "checkpoint/sample_checkpoints.h"
#include "checkpoint/thread_ranks.h"

namespace microdit::checkpoint {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A child that saves steps from the newest on, for ever, and keeps three.
[[noreturn]] void save_for_ever(const fs::path& folder) {
  const auto comm = comm::make_local_communicator();
  Writer writer(folder, *comm);
  const auto latest = open_latest(folder);
  for (std::int64_t step = (latest ? latest->step() : 0) + 1;; ++step) {
    writer.start(step, parts_of(sample_tensors(step), 0, 1), sample_state(step));
    writer.finish({3, 10});
  }
}

TEST(Lives, KilledAtRandomMomentsTheNewestIsAlwaysGood) {
  const Scratch scratch;
  std::mt19937 random(20);
  std::int64_t reached = 0;
  for (int life = 0; life < 25 || (reached < 10 && life < 400); ++life) {  // more on a slow disk
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(STDERR_FILENO);
      save_for_ever(scratch.path());
    }
    ::usleep(5'000 + random() % 200'000);
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));  // it was killed; it had not failed by itself
    for (const std::string& name : names_in(scratch.path())) {
      if (name.starts_with('.')) continue;
      ASSERT_THAT(verify(scratch.path() / name), IsEmpty()) << name;
    }
    if (const auto latest = open_latest(scratch.path())) {
      ASSERT_GE(latest->step(), reached);
      reached = latest->step();
      ASSERT_TRUE(holds(*latest, sample_tensors(reached)));
    }
  }
  EXPECT_GE(reached, 10);
  const auto comm = comm::make_local_communicator();
  const Writer next_life(scratch.path(), *comm);
  for (const std::string& name : names_in(scratch.path())) EXPECT_TRUE(step_of(name)) << name << " is stale";
}

TEST(Lives, StaleHiddenFoldersGoAndOthersStay) {
  const Scratch scratch;
  for (const char* name :
       {".step_0000009.j1r0p1.tmp", ".stale.j1r0p1.tmp", ".notes", "step_0000009", "other.tmp"}) {
    fs::create_directories(scratch.path() / name / "inside");
  }
  const auto comm = comm::make_local_communicator();
  const Writer writer(scratch.path(), *comm);
  EXPECT_THAT(names_in(scratch.path()), ElementsAre(".notes", "other.tmp", "step_0000009"));
}

TEST(Lives, AnOrphanCannotPublishWhatALaterLifeRemoved) {
  const Scratch scratch;
  const auto comm = comm::make_local_communicator();
  Writer orphan(scratch.path(), *comm);
  orphan.start(5, parts_of(sample_tensors(5), 0, 1), sample_state(5));
  while (!orphan.durable_here()) ::usleep(1000);
  Writer later(scratch.path(), *comm);
  EXPECT_THROW(orphan.finish({0, 0}), core::SystemError);
  EXPECT_THAT(names_in(scratch.path()), IsEmpty());
  later.start(5, parts_of(sample_tensors(5), 0, 1), sample_state(5));
  later.finish({0, 0});
  EXPECT_THAT(verify(scratch.path() / step_name(5)), IsEmpty());
}

TEST(Lives, TwoLivesMayWriteTheSameStepAtOnce) {
  for (int round = 0; round < 20; ++round) {
    const Scratch scratch;
    if (round % 2 == 1) {  // something damaged in the way
      fs::create_directories(scratch.path() / step_name(5));
      std::ofstream(scratch.path() / step_name(5) / "manifest.json") << "{}";
    }
    const auto comm = comm::make_local_communicator();
    Writer first(scratch.path(), *comm), second(scratch.path(), *comm);
    std::vector<std::jthread> lives;
    for (Writer* writer : {&first, &second}) {
      lives.emplace_back([writer] {
        writer->start(5, parts_of(sample_tensors(5), 0, 1), sample_state(5));
        writer->finish({2, 0});
      });
    }
    lives.clear();
    ASSERT_THAT(names_in(scratch.path()), ElementsAre(step_name(5)));
    ASSERT_THAT(verify(scratch.path() / step_name(5)), IsEmpty());
  }
}

TEST(Lives, AFullDiskIsEverybodysErrorAndLeavesNothing) {
  const Scratch scratch;
  on_ranks(2, [&](comm::Communicator& comm) { save(scratch.path(), 1, comm); });
  const pid_t child = ::fork();  // the limit cannot be taken back
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto errors = on_ranks(2, [&](comm::Communicator& comm) {
      Writer writer(scratch.path(), comm);
      // Only rank 1's file is too large.
      std::vector<Part> parts = {{fmt::format("weights/{}", comm.rank()), {10}, 0, std::vector<float>(10)}};
      if (comm.rank() == 1) parts = {{"weights/1", {100'000}, 0, std::vector<float>(100'000)}};
      writer.start(2, parts, {});
      while (!writer.durable_here()) ::usleep(1000);
      writer.publish({1, 0});
    });
    bool all_said_so = true;
    for (const std::string& error : errors) {
      all_said_so = all_said_so && error.find("rank 1") != error.npos &&
                    error.find("shard_00001_of_00002") != error.npos &&
                    error.find("File too large") != error.npos;
    }
    ::_exit(all_said_so ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_THAT(names_in(scratch.path()), ElementsAre(step_name(1)));
  EXPECT_EQ(open_latest(scratch.path())->step(), 1);
}

TEST(Lives, AFolderThatCannotBeMadeIsTheUsersPath) {
  const auto comm = comm::make_local_communicator();
  const Scratch scratch;
  std::ofstream(scratch.path() / "file") << "x";
  EXPECT_THROW(Writer(scratch.path() / "file" / "checkpoints", *comm), core::UserError);
}

TEST(Lives, RetentionKeepsTheNewestAndTheRoundOnes) {
  const Scratch scratch;
  const auto comm = comm::make_local_communicator();
  for (std::int64_t step = 10; step <= 60; step += 10) save(scratch.path(), step, *comm, 2, 30);
  EXPECT_THAT(names_in(scratch.path()), ElementsAre(step_name(30), step_name(50), step_name(60)));
  save(scratch.path(), 70, *comm, 0, 0);
  EXPECT_EQ(names_in(scratch.path()).size(), 4u);
  save(scratch.path(), 80, *comm, 1, 0);
  EXPECT_THAT(names_in(scratch.path()), ElementsAre(step_name(80)));
}

TEST(Lives, RetentionCountsOnlyGoodOnesAndSparesWhatIsNewer) {
  const Scratch scratch;
  const auto comm = comm::make_local_communicator();
  for (const std::int64_t step : {10, 20, 30, 90}) save(scratch.path(), step, *comm);
  const fs::path shard = scratch.path() / step_name(30) / "shard_00000_of_00001.safetensors";
  flip_bit(shard, fs::file_size(shard) - 1, 0);
  save(scratch.path(), 40, *comm, 2, 0);
  // 40 and 20 are the newest two that verify; 30 is damaged and newer than 20; 90 is not this life's to
  // judge.
  EXPECT_THAT(names_in(scratch.path()),
              ElementsAre(step_name(20), step_name(30), step_name(40), step_name(90)));
  save(scratch.path(), 50, *comm, 2, 0);
  EXPECT_THAT(names_in(scratch.path()), ElementsAre(step_name(40), step_name(50), step_name(90)));
}

}  // namespace
}  // namespace microdit::checkpoint

// Parts: the same bits for any number of tasks; what is there is kept, what is damaged is made again.
#include "score/gather.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "core/atomic_file.h"
#include "core/error.h"
#include "encoders/temporary_folder.h"

namespace microdit::score {
namespace {

using encoders::TemporaryFolder;

/// 40 pictures of 6 features in parts of 3; `made` counts the pictures whose features were asked for.
struct Made {
  std::int64_t pictures = 0;
  core::StopFlag stop;
  std::int64_t stop_after = -1;

  GatherPlan plan(const std::filesystem::path& folder) {
    GatherPlan plan;
    plan.what = "made pictures";
    plan.count = 40;
    plan.dims = 6;
    plan.part_size = 3;
    plan.batch_size = 2;
    plan.folder = folder;
    plan.about = {{"network", "made"}};
    plan.features = [this](std::int64_t first, std::int64_t last) {
      pictures += last - first;
      if (stop_after >= 0 && pictures > stop_after) stop.request();
      return (torch::arange(first, last, torch::kFloat).unsqueeze(1) * torch::arange(1, 7).unsqueeze(0) *
              0.37F)
          .sin();
    };
    return plan;
  }
};

torch::Tensor whole(const std::filesystem::path& folder) {
  Made made;
  const auto comm = comm::make_local_communicator();
  const Gathered found = gather(made.plan(folder), {0, 1}, *comm, made.stop);
  EXPECT_EQ(made.pictures, 40);
  EXPECT_EQ(found.statistics->gaussian.n, 40);
  return found.statistics->gaussian.sigma_DD;
}

TEST(Gather, seven_tasks_make_the_bits_of_one) {
  const TemporaryFolder folder;
  const torch::Tensor one = whole(folder.path() / "one");
  Made made;
  const auto comm = comm::make_local_communicator();
  const GatherPlan plan = made.plan(folder.path() / "seven");
  for (const std::int64_t task : {3, 0, 6, 5, 1, 4}) {
    const Gathered found = gather(plan, {task, 7}, *comm, made.stop);
    EXPECT_GT(found.missing, 0);
    EXPECT_FALSE(found.statistics);
  }
  const Gathered last = gather(plan, {2, 7}, *comm, made.stop);
  EXPECT_EQ(last.missing, 0);
  EXPECT_EQ(made.pictures, 40);
  EXPECT_TRUE(at::equal(last.statistics->gaussian.sigma_DD, one));
  EXPECT_EQ(core::read_text(statistics_file(plan)), core::read_text(folder.path() / "one/statistics.npz"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(plan.folder), {}), 1);  // the parts are gone
}

TEST(Gather, goes_on_where_it_was_stopped) {
  const TemporaryFolder folder;
  const torch::Tensor one = whole(folder.path() / "one");
  Made made;
  made.stop_after = 20;
  const auto comm = comm::make_local_communicator();
  const GatherPlan plan = made.plan(folder.path() / "two");
  EXPECT_TRUE(gather(plan, {0, 1}, *comm, made.stop).stopped);
  Made again;
  const Gathered found = gather(again.plan(plan.folder), {0, 1}, *comm, again.stop);
  EXPECT_TRUE(at::equal(found.statistics->gaussian.sigma_DD, one));
  EXPECT_LE(made.pictures + again.pictures, 40 + plan.part_size);
  Made third;
  gather(third.plan(plan.folder), {0, 1}, *comm, third.stop);
  EXPECT_EQ(third.pictures, 0);
}

TEST(Gather, makes_a_damaged_part_again) {
  const TemporaryFolder folder;
  const torch::Tensor one = whole(folder.path() / "one");
  Made made;
  const auto comm = comm::make_local_communicator();
  const GatherPlan plan = made.plan(folder.path() / "two");
  gather(plan, {0, 2}, *comm, made.stop);
  const auto part = plan.folder / "part-00002-of-00014.npz";
  std::string bytes = core::read_text(part);
  bytes[bytes.size() / 2] ^= 1;
  core::atomic_write(part, bytes);
  gather(plan, {1, 2}, *comm, made.stop);  // sees it when it merges
  EXPECT_FALSE(std::filesystem::exists(statistics_file(plan)));
  const Gathered found = gather(plan, {0, 2}, *comm, made.stop);
  EXPECT_EQ(made.pictures, 43);
  EXPECT_TRUE(at::equal(found.statistics->gaussian.sigma_DD, one));
}

TEST(Gather, keeps_features_also_of_statistics_that_are_there) {
  const TemporaryFolder folder;
  const torch::Tensor one = whole(folder.path() / "kept");
  const auto comm = comm::make_local_communicator();
  Made made;
  GatherPlan plan = made.plan(folder.path() / "kept");
  plan.keep_features = true;
  for (const std::int64_t task : {1, 0, 2})
    EXPECT_EQ(gather(plan, {task, 3}, *comm, made.stop).missing, task == 2 ? 0 : task == 1 ? 9 : 4);
  EXPECT_EQ(made.pictures, 40);
  EXPECT_TRUE(at::allclose(read_features(plan), plan.features(0, 40).to(torch::kDouble), 1e-6, 1e-6));
  for (const auto& entry : std::filesystem::directory_iterator(plan.folder))
    EXPECT_FALSE(entry.path().filename().string().starts_with("part-")) << entry.path();

  Made again;
  plan = again.plan(plan.folder);
  plan.keep_features = true;
  const auto damaged = plan.folder / "features-00003-of-00014.npz";
  std::string bytes = core::read_text(damaged);
  bytes[bytes.find("NUMPY") + 140] ^= 1;  // in the values
  core::atomic_write(damaged, bytes);
  EXPECT_TRUE(at::equal(gather(plan, {0, 1}, *comm, again.stop).statistics->gaussian.sigma_DD, one));
  EXPECT_EQ(again.pictures, 3);

  Made fresh;
  plan = fresh.plan(folder.path() / "fresh");
  plan.keep_features = true;
  EXPECT_TRUE(at::equal(gather(plan, {0, 1}, *comm, fresh.stop).statistics->gaussian.sigma_DD, one));
  EXPECT_EQ(fresh.pictures, 40);
}

}  // namespace
}  // namespace microdit::score

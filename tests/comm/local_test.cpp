// One process: collectives are the identity, with the same contracts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/device.h"
#include "core/error.h"

namespace microdit::comm {
namespace {

TEST(Local, CollectivesAreTheIdentity) {
  const auto comm = make_local_communicator();
  EXPECT_EQ(comm->rank(), 0);
  EXPECT_EQ(comm->size(), 1);
  EXPECT_EQ(comm->local_rank(), 0);
  comm->barrier();
  std::vector<double> doubles = {1, -2};
  comm->all_reduce_sum(doubles);
  comm->all_reduce_max(doubles);
  EXPECT_THAT(doubles, testing::ElementsAre(1, -2));
  std::vector<float> in = {1, 2, 3}, out(3);
  comm->reduce_scatter_sum({.data = in.data(), .count = 3}, {.data = out.data(), .count = 3});
  EXPECT_EQ(out, in);
  std::vector<float> gathered(3);
  comm->all_gather({.data = in.data(), .count = 3}, {.data = gathered.data(), .count = 3});
  EXPECT_EQ(gathered, in);
  std::string text = "kept";
  comm->broadcast(text, 0);
  EXPECT_EQ(text, "kept");
  EXPECT_THAT(comm->all_gather(text), testing::ElementsAre("kept"));
}

TEST(Local, MisuseIsFound) {
  const auto comm = make_local_communicator();
  std::vector<float> in(3), out(2);
  EXPECT_THROW(comm->all_gather({.data = in.data(), .count = 3}, {.data = out.data(), .count = 2}),
               std::logic_error);
  std::string text;
  EXPECT_THROW(comm->broadcast(text, 1), std::logic_error);
}

TEST(LocalDeathTest, AbortEndsTheProcessWithItsCode) {
  EXPECT_EXIT(make_local_communicator()->abort(76), testing::ExitedWithCode(76), "");
}

TEST(Local, TheCpuIsChosenWithoutAsking) {
  const auto comm = make_local_communicator();
  EXPECT_EQ(choose_device(*comm, "cpu").name(), "cpu");
}

TEST(Local, RootsWorkGivesItsTextAndKeepsItsErrorsType) {
  const auto comm = make_local_communicator();
  EXPECT_EQ(comm->on_root([] { return std::string("text"); }), "text");
  EXPECT_THROW(comm->on_root([] { core::user_error("theirs"); }), core::UserError);
  EXPECT_THROW(comm->on_root([] { core::fault_error("the disk's"); }), core::FaultError);
  EXPECT_TRUE(comm->any(true));
  EXPECT_FALSE(comm->any(false));
}

}  // namespace
}  // namespace microdit::comm

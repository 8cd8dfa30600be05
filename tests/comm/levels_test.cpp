// Parts of the ranks, for whatever size this binary was launched with (cluster_test.sh: 1 to 4 ranks).
#include <gtest/gtest.h>

#include <cmath>

#include "comm/levels.h"
#include "comm/world.h"
#include "core/error.h"

namespace microdit::comm {
namespace {

TEST(ClusterLevels, PartsAreCommunicatorsOfTheirOwn) {
  Communicator& comm = world();
  const std::unique_ptr<Communicator> part = comm.split(comm.rank() % 2);
  EXPECT_EQ(part->rank(), comm.rank() / 2);
  EXPECT_EQ(part->size(), (comm.size() + 1 - comm.rank() % 2) / 2);
  double sum[] = {static_cast<double>(comm.rank())};
  part->all_reduce_sum(sum);
  double expected = 0;
  for (int r = comm.rank() % 2; r < comm.size(); r += 2) expected += r;
  EXPECT_EQ(sum[0], expected);
  // A watchdog for all: what one is told, the other waits.
  part->set_deadline(77);
  EXPECT_EQ(comm.deadline_s(), comm.size() == 1 ? comm.deadline_s() : 77);
  comm.set_deadline(120);
}

TEST(ClusterLevels, LevelsAreNodesAndEqualPlaces) {
  Communicator& comm = world();
  if (comm.size() == 1) {
    const Levels alone(comm, 0);
    EXPECT_EQ(alone.inside(), nullptr);
    EXPECT_EQ(alone.across(), nullptr);
    return;
  }
  const Levels launched(comm, 0);  // here: one machine
  EXPECT_EQ(launched.nodes(), 1);
  EXPECT_EQ(launched.inside(), &comm);
  EXPECT_EQ(launched.across(), nullptr);
  const Levels single(comm, 1);
  EXPECT_EQ(single.nodes(), comm.size());
  EXPECT_EQ(single.inside(), nullptr);
  EXPECT_EQ(single.across(), &comm);
  if (comm.size() % 2 != 0) {
    EXPECT_THROW(Levels(comm, 2), core::UserError);
    return;
  }
  if (comm.size() != 4) return;
  const Levels two(comm, 2);
  EXPECT_EQ(two.nodes(), 2);
  EXPECT_EQ(two.node(), comm.rank() / 2);
  EXPECT_EQ(two.place(), comm.rank() % 2);
  double inside[] = {std::pow(10, comm.rank())}, across[] = {std::pow(10, comm.rank())};
  two.inside()->all_reduce_sum(inside);
  two.across()->all_reduce_sum(across);
  EXPECT_EQ(inside[0], comm.rank() < 2 ? 11 : 1100);
  EXPECT_EQ(across[0], comm.rank() % 2 == 0 ? 101 : 1010);
}

}  // namespace
}  // namespace microdit::comm

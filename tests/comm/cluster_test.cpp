// Collectives against a serial computation, for whatever size this binary was launched with (cluster_test.sh: 1 to 4 ranks).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <thread>

#include "comm/world.h"
#include "core/error.h"
#include "core/log.h"

namespace microdit::comm {
namespace {

std::unique_ptr<Communicator> the_world;

const char* variable(const char* name) {
  return std::getenv(name);
}

// Started before the first test, finalized after the last. The variables let a script choose the deadline and
// the exit code.
class World final : public testing::Environment {
 public:
  void SetUp() override {
    const char* watchdog_s = variable("MICRODIT_TEST_WATCHDOG_S");
    try {
      the_world = make_communicator(watchdog_s != nullptr ? std::atof(watchdog_s) : 120);
      core::start_log(the_world->rank());
    } catch (const core::UserError& error) {
      core::log_error("{}", error.what());
      std::_Exit(core::kUserMistake);
    }
  }
  void TearDown() override {
    the_world.reset();
    const char* code = variable("MICRODIT_TEST_EXIT");
    if (code != nullptr && testing::UnitTest::GetInstance()->Passed()) std::_Exit(std::atoi(code));
  }
};
const auto* const registered = testing::AddGlobalTestEnvironment(new World);

// Values of very different size, so that another order of summation gives other bits.
float value(int rank, std::int64_t i) {
  const auto h = (static_cast<std::uint64_t>(rank) * 1'000'003 + static_cast<std::uint64_t>(i) + 1) *
                 0x9E3779B97F4A7C15ULL;
  const float mantissa = static_cast<float>(h >> 40) / 16777216.0f - 0.5f;
  return std::ldexp(mantissa, static_cast<int>((h >> 20) % 16));
}

std::vector<float> values_of(int rank, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = value(rank, i);
  return values;
}

float serial_sum(int size, std::int64_t i) {
  float sum = value(0, i);
  for (int r = 1; r < size; ++r) sum += value(r, i);
  return sum;
}

Buffer whole(std::vector<float>& values) {
  return {.data = values.data(), .count = static_cast<std::int64_t>(values.size())};
}

class ClusterPieces : public testing::TestWithParam<std::int64_t> {};

TEST_P(ClusterPieces, ReduceScatterIsTheRankOrderSum) {
  Communicator& comm = world();
  const std::int64_t piece = GetParam();
  std::vector<float> in = values_of(comm.rank(), piece * comm.size());
  const std::vector<float> before = in;
  std::vector<float> out(static_cast<std::size_t>(piece), NAN);
  comm.reduce_scatter_sum(whole(in), whole(out));
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < piece; ++i) {
    const float expected = serial_sum(comm.size(), comm.rank() * piece + i);
    wrong += std::bit_cast<std::uint32_t>(out[static_cast<std::size_t>(i)]) !=
             std::bit_cast<std::uint32_t>(expected);
  }
  EXPECT_EQ(wrong, 0) << "of " << piece;
  EXPECT_EQ(in, before);
}

TEST_P(ClusterPieces, ReduceScatterMayWriteIntoItsOwnPiece) {
  Communicator& comm = world();
  const std::int64_t piece = GetParam();
  std::vector<float> in = values_of(comm.rank(), piece * comm.size());
  const Buffer own{.data = in.data() + comm.rank() * piece, .count = piece};
  comm.reduce_scatter_sum(whole(in), own);
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < piece; ++i)
    wrong += own.floats()[i] != serial_sum(comm.size(), comm.rank() * piece + i);
  EXPECT_EQ(wrong, 0) << "of " << piece;
}

TEST_P(ClusterPieces, AllGatherPutsPiecesInRankOrder) {
  Communicator& comm = world();
  const std::int64_t piece = GetParam();
  for (const bool in_place : {false, true}) {
    std::vector<float> out(static_cast<std::size_t>(piece * comm.size()), NAN);
    std::vector<float> own = values_of(comm.rank(), piece);
    Buffer in = whole(own);
    if (in_place) {
      in.data = out.data() + comm.rank() * piece;
      std::copy(own.begin(), own.end(), in.floats());
    }
    comm.all_gather(in, whole(out));
    std::int64_t wrong = 0;
    for (int r = 0; r < comm.size(); ++r) {
      for (std::int64_t i = 0; i < piece; ++i)
        wrong += out[static_cast<std::size_t>(r * piece + i)] != value(r, i);
    }
    EXPECT_EQ(wrong, 0) << "in_place " << in_place;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ClusterPieces, testing::Values(0, 1, 5, 1000, 100'003));

// The exchange goes in rounds of 16 Mi values over all ranks.
TEST(Cluster, ReduceScatterOfSeveralRounds) {
  Communicator& comm = world();
  const std::int64_t piece = (std::int64_t{16} << 20) / comm.size() + 7;
  std::vector<float> in(static_cast<std::size_t>(piece * comm.size()));
  const auto small = [](int rank, std::int64_t i) { return static_cast<float>((i % 1021) * (rank + 1)); };
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = small(comm.rank(), static_cast<std::int64_t>(i));
  std::vector<float> out(static_cast<std::size_t>(piece));
  comm.reduce_scatter_sum(whole(in), whole(out));
  const int rank_sum = comm.size() * (comm.size() + 1) / 2;
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < piece; ++i) {
    wrong += out[static_cast<std::size_t>(i)] != small(rank_sum - 1, comm.rank() * piece + i);
  }
  EXPECT_EQ(wrong, 0) << "of " << piece;
}

TEST(Cluster, TheOrderOfSummationShowsInTheseValues) {
  if (world().size() < 3) GTEST_SKIP() << "two values add to the same either way";
  std::int64_t differing = 0;
  for (std::int64_t i = 0; i < 1000; ++i) {
    float sum = value(world().size() - 1, i);
    for (int r = world().size() - 2; r >= 0; --r) sum += value(r, i);
    differing += sum != serial_sum(world().size(), i);
  }
  EXPECT_GT(differing, 50);
}

TEST(Cluster, AllReduceSumsDoublesInRankOrder) {
  Communicator& comm = world();
  std::vector<double> values(100);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = 0.1 * value(comm.rank(), static_cast<std::int64_t>(i));
  comm.all_reduce_sum(values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    double expected = 0.1 * value(0, static_cast<std::int64_t>(i));
    for (int r = 1; r < comm.size(); ++r) expected += 0.1 * value(r, static_cast<std::int64_t>(i));
    EXPECT_EQ(values[i], expected) << i;
  }
}

TEST(Cluster, AllReduceMaxKeepsTheLargestAndAnyNan) {
  Communicator& comm = world();
  const bool last = comm.rank() == comm.size() - 1;
  std::vector<double> values = {static_cast<double>(comm.rank()), -static_cast<double>(comm.rank()) - 1,
                                last ? std::numeric_limits<double>::quiet_NaN() : 7,
                                comm.rank() == 0 ? std::numeric_limits<double>::quiet_NaN() : 7};
  comm.all_reduce_max(values);
  EXPECT_EQ(values[0], comm.size() - 1);
  EXPECT_EQ(values[1], -1);
  EXPECT_TRUE(std::isnan(values[2]));
  EXPECT_TRUE(std::isnan(values[3]));
}

TEST(Cluster, BroadcastReachesEveryRankFromEveryRoot) {
  Communicator& comm = world();
  for (int root = 0; root < comm.size(); ++root) {
    std::string text =
        comm.rank() == root ? "from " + std::to_string(root) + std::string(100'000, 'x') : "old";
    comm.broadcast(text, root);
    EXPECT_EQ(text.size(), 100'006u);
    EXPECT_TRUE(text.starts_with("from " + std::to_string(root) + "x"));
  }
  std::string empty = comm.rank() == 0 ? "" : "old";
  comm.broadcast(empty, 0);
  EXPECT_EQ(empty, "");
}

TEST(Cluster, GathersStringsOfDifferentLength) {
  Communicator& comm = world();
  const std::vector<std::string> texts = comm.all_gather(
      std::string(static_cast<std::size_t>(comm.rank()), static_cast<char>('a' + comm.rank())));
  ASSERT_EQ(texts.size(), static_cast<std::size_t>(comm.size()));
  for (int r = 0; r < comm.size(); ++r) {
    EXPECT_EQ(texts[static_cast<std::size_t>(r)],
              std::string(static_cast<std::size_t>(r), static_cast<char>('a' + r)));
  }
}

TEST(Cluster, SharesPartitionTheItems) {
  Communicator& comm = world();
  const Share share = share_of(comm, "1/3");
  EXPECT_EQ(share.slots, 3 * comm.size());
  EXPECT_EQ(share.slot, comm.size() + comm.rank());
}

TEST(Cluster, MisuseIsFoundOnTheSpot) {
  Communicator& comm = world();
  std::vector<float> a(static_cast<std::size_t>(3 * comm.size() + 1)), b(3);
  EXPECT_THROW(comm.reduce_scatter_sum(whole(a), whole(b)), std::logic_error);
  EXPECT_THROW(comm.all_gather(whole(b), whole(a)), std::logic_error);
  std::string text;
  EXPECT_THROW(comm.broadcast(text, comm.size()), std::logic_error);
  Buffer on_gpu{.data = b.data(), .count = 3, .on_cuda = true};
  EXPECT_THROW(comm.reduce_scatter_sum(whole(a), on_gpu), std::logic_error);
}

TEST(Cluster, GathersValuesOfAnyType) {
  Communicator& comm = world();
  std::vector<std::uint16_t> own(3, static_cast<std::uint16_t>(100 + comm.rank()));
  std::vector<std::uint16_t> all(static_cast<std::size_t>(3 * comm.size()));
  comm.all_gather({.data = own.data(), .count = 3, .dtype = core::DType::bf16},
                  {.data = all.data(), .count = 3 * comm.size(), .dtype = core::DType::bf16});
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], 100 + i / 3);
  std::vector<float> floats(3);
  EXPECT_THROW(comm.all_gather({.data = floats.data(), .count = 3},
                               {.data = all.data(), .count = 3 * comm.size(), .dtype = core::DType::bf16}),
               std::logic_error);
}

TEST(Cluster, HasTheSizeItWasLaunchedWith) {
  const char* expected = variable("MICRODIT_TEST_SIZE");
  if (expected == nullptr) GTEST_SKIP() << "MICRODIT_TEST_SIZE says what size to expect";
  EXPECT_EQ(world().size(), std::atoi(expected));
  EXPECT_GE(world().local_rank(), 0);
  EXPECT_LE(world().local_rank(), world().rank());
}

// Cases that end the job; a script starts them one by one and looks at the exit code.
TEST(ClusterEnd, Abort) {
  if (variable("MICRODIT_TEST_END") == nullptr) GTEST_SKIP() << "ends the job; run by cluster_test.sh";
  if (world().rank() == world().size() - 1) world().abort(2);
  world().barrier();
  FAIL() << "the others went on";
}

TEST(ClusterEnd, HungPeer) {
  if (variable("MICRODIT_TEST_END") == nullptr) GTEST_SKIP() << "ends the job; run by cluster_test.sh";
  if (world().rank() == 1) std::this_thread::sleep_for(std::chrono::seconds(60));
  world().barrier();
  FAIL() << "the watchdog did not end the job";
}

TEST(ClusterEnd, ExceptionUnwindsWithoutWaitingForThePeers) {
  if (variable("MICRODIT_TEST_END") == nullptr) GTEST_SKIP() << "ends the job; run by cluster_test.sh";
  if (world().rank() == 1) {
    try {
      const std::unique_ptr<Communicator> scoped = std::move(the_world);
      core::user_error("rank 1 fails");
    } catch (const core::UserError&) {
      std::_Exit(9);
    }
  }
  world().barrier();
}

}  // namespace

Communicator& world() {
  return *the_world;
}

}  // namespace microdit::comm

// NCCL's way and the staged way of CUDA buffers give the same bits as the host's, on any stream, however late it runs.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <optional>

#include "comm/device/device_memory.h"
#include "comm/device/ranks.h"
#include "comm/nccl_path.h"

namespace microdit::comm {
namespace {

constexpr std::int64_t kRound =
    1 << 10;  // values on the way at once, over all pieces: larger sums go in rounds

struct Case {
  bool nccl;
  bool late;
  bool side_stream;
};

class Paths : public testing::TestWithParam<Case> {};

/// A way over the ranks with everything it needs.
class Way {
 public:
  Way(Communicator& comm, const Case& how) : watchdog_(60, comm.rank(), [](int code) { std::_Exit(code); }) {
    EXPECT_EQ(cudaSetDevice(comm.local_rank()), cudaSuccess);
    path_ = how.nccl ? make_nccl_path(comm, watchdog_, kRound) : make_staged_path(comm, kRound);
    if (how.side_stream) stream_.emplace();
    if (how.late) fakes::set_lateness(0.02);
  }
  ~Way() { fakes::set_lateness(0); }
  DevicePath* operator->() { return path_.get(); }
  cudaStream_t stream() const { return stream_ ? stream_->get() : nullptr; }

 private:
  Watchdog watchdog_;
  std::unique_ptr<DevicePath> path_;
  std::optional<SideStream> stream_;
};

Buffer host(std::vector<float>& values) {
  return {.data = values.data(), .count = static_cast<std::int64_t>(values.size())};
}

void expect_same_bits(const std::vector<float>& ours, const std::vector<float>& theirs, std::int64_t piece) {
  ASSERT_EQ(ours.size(), theirs.size());
  EXPECT_TRUE(ours.empty() || std::memcmp(ours.data(), theirs.data(), ours.size() * sizeof(float)) == 0)
      << "pieces of " << piece;
}

constexpr std::array<std::int64_t, 5> kPieces = {0, 1, 5, 255, 2049};

TEST_P(Paths, ReduceScatterHasTheHostsBits) {
  on_ranks([](int) { return node_of(4); },
           [&](Communicator& comm) {
             Way way(comm, GetParam());
             for (const std::int64_t piece : kPieces) {
               std::vector<float> in = test_values(comm.rank(), piece * comm.size());
               std::vector<float> expected(static_cast<std::size_t>(piece));
               comm.reduce_scatter_sum(host(in), host(expected));

               const DeviceFloats whole(in, way.stream()), out(piece, way.stream());
               way->reduce_scatter_sum(whole.all(), out.all());
               expect_same_bits(out.read(), expected, piece);
               expect_same_bits(whole.read(), in, piece);

               way->reduce_scatter_sum(whole.all(),
                                       whole.part(comm.rank() * piece, piece));  // into its own piece
               std::copy(expected.begin(), expected.end(), in.begin() + comm.rank() * piece);
               expect_same_bits(whole.read(), in, piece);
             }
           });
}

TEST_P(Paths, AllGatherHasTheHostsBits) {
  on_ranks([](int) { return node_of(4); },
           [&](Communicator& comm) {
             Way way(comm, GetParam());
             for (const std::int64_t piece : kPieces) {
               std::vector<float> own = test_values(comm.rank(), piece);
               std::vector<float> expected(static_cast<std::size_t>(piece * comm.size()));
               comm.all_gather(host(own), host(expected));

               const DeviceFloats in(own, way.stream()), out(piece * comm.size(), way.stream());
               way->all_gather(in.all(), out.all());
               expect_same_bits(out.read(), expected, piece);

               std::vector<float> whole(expected.size());
               std::copy(own.begin(), own.end(), whole.begin() + comm.rank() * piece);
               const DeviceFloats in_place(whole, way.stream());
               way->all_gather(in_place.part(comm.rank() * piece, piece), in_place.all());
               expect_same_bits(in_place.read(), expected, piece);
             }
           });
}

// Scratch and pinned memory are one for all streams: the second sum must not overtake the first.
TEST_P(Paths, SumsOnTwoStreamsDoNotMix) {
  on_ranks([](int) { return node_of(4); },
           [&](Communicator& comm) {
             Way way(comm, GetParam());
             const SideStream other;
             const std::int64_t piece = 700;
             for (int turn = 0; turn < 3; ++turn) {
               std::vector<float> a = test_values(comm.rank(), piece * comm.size());
               std::vector<float> b = test_values(comm.rank() + 10, piece * comm.size());
               std::vector<float> sum_a(static_cast<std::size_t>(piece)),
                   sum_b(static_cast<std::size_t>(piece));
               comm.reduce_scatter_sum(host(a), host(sum_a));
               comm.reduce_scatter_sum(host(b), host(sum_b));
               const DeviceFloats in_a(a, way.stream()), out_a(piece, way.stream());
               const DeviceFloats in_b(b, other.get()), out_b(piece, other.get());
               way->reduce_scatter_sum(in_a.all(), out_a.all());
               way->reduce_scatter_sum(in_b.all(), out_b.all());
               expect_same_bits(out_b.read(), sum_b, piece);
               expect_same_bits(out_a.read(), sum_a, piece);
             }
           });
}

INSTANTIATE_TEST_SUITE_P(All, Paths,
                         testing::Values(Case{true, false, false}, Case{true, true, false},
                                         Case{true, true, true}, Case{false, false, false},
                                         Case{false, true, false}, Case{false, true, true}),
                         [](const testing::TestParamInfo<Case>& info) {
                           return std::string(info.param.nccl ? "Nccl" : "Staged") +
                                  (info.param.late ? "Late" : "AtOnce") +
                                  (info.param.side_stream ? "OnASideStream" : "OnTheDefaultStream");
                         });

}  // namespace
}  // namespace microdit::comm

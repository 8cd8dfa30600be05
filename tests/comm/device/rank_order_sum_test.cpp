// The kernel of the rank-order sum against its CPU twin, bit for bit, whatever the order of blocks and threads.
#include "comm/rank_order_sum.h"

#include <gtest/gtest.h>

#include "comm/device/device_memory.h"
#include "fake_gpus.h"

namespace microdit::comm {
namespace {

class RankOrderSum : public testing::TestWithParam<fakes::Order> {};

TEST_P(RankOrderSum, HasTheCpusBits) {
  fakes::plug_in(1);
  fakes::set_order(GetParam());
  const SideStream stream;
  for (const std::int64_t count : {1, 2, 255, 257, 70'001}) {
    for (const int own_rank : {0, 1, 3}) {
      const int ranks = 4;
      const std::int64_t pitch = count + 3;
      std::vector<float> pieces;
      for (int r = 0; r < ranks; ++r) {
        const std::vector<float> piece = test_values(r, pitch);
        pieces.insert(pieces.end(), piece.begin(), piece.end());
      }
      const std::vector<float> own = test_values(7, count);
      std::vector<const float*> on_host;
      for (int r = 0; r < ranks; ++r)
        on_host.push_back(r == own_rank ? own.data() : pieces.data() + r * pitch);
      std::vector<float> expected(own.size());
      sum_in_rank_order(on_host, count, expected.data());

      const DeviceFloats device_pieces(pieces, stream.get()), device_own(own, stream.get()),
          out(count, stream.get());
      const DevicePieces in{device_pieces.data(), pitch, ranks, device_own.data(), own_rank};
      EXPECT_EQ(sum_in_rank_order_cuda(in, count, out.data(), stream.get()), cudaSuccess);
      EXPECT_EQ(out.read(), expected) << count << " values, own rank " << own_rank;
    }
  }
}

TEST_P(RankOrderSum, OfNothingTouchesNothing) {
  fakes::plug_in(1);
  EXPECT_EQ(sum_in_rank_order_cuda({nullptr, 0, 4, nullptr, 1}, 0, nullptr, nullptr), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

INSTANTIATE_TEST_SUITE_P(Orders, RankOrderSum,
                         testing::Values(fakes::Order::kForward, fakes::Order::kReverse,
                                         fakes::Order::kRandom));

}  // namespace
}  // namespace microdit::comm

// The rank-order sum on the CPU: one pass over the pieces, a tile at a time.
#include "comm/rank_order_sum.h"

#include <algorithm>
#include <array>

namespace microdit::comm {

void sum_in_rank_order(std::span<const float* const> pieces, std::int64_t count, float* out) {
  constexpr std::int64_t kTile = 1024;
  std::array<float, kTile> sum;
  for (std::int64_t begin = 0; begin < count; begin += kTile) {
    const std::int64_t width = std::min(kTile, count - begin);
    std::copy_n(pieces[0] + begin, width, sum.data());
    for (std::size_t r = 1; r < pieces.size(); ++r) {
      const float* piece = pieces[r] + begin;
      for (std::int64_t i = 0; i < width; ++i) sum[static_cast<std::size_t>(i)] += piece[i];
    }
    std::copy_n(sum.data(), width, out + begin);
  }
}

}  // namespace microdit::comm

// Retrieval ranks on a hand-made set.
#include "eval/retrieval.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace microdit::eval {
namespace {

std::vector<std::int64_t> ranks(const torch::Tensor& painted, const torch::Tensor& candidates,
                                const std::vector<std::int64_t>& own, std::int64_t piece) {
  NearerCounter counter(painted, candidates.index_select(0, torch::tensor(own)));
  for (std::int64_t first = 0; first < candidates.size(0); first += piece)
    counter.add(candidates.narrow(0, first, std::min(piece, candidates.size(0) - first)));
  return counter.nearer();
}

TEST(RetrievalTest, counts_the_strictly_nearer) {
  const torch::Tensor candidates = torch::tensor({{0.f, 0.f}, {1.f, 0.f}, {1.f, 0.f}, {5.f, 5.f}});
  const torch::Tensor painted = torch::tensor({{1.f, 0.f}, {1.f, 0.f}, {0.9f, 0.f}});
  for (const std::int64_t piece : {1, 3, 4})
    EXPECT_EQ(ranks(painted, candidates, {1, 0, 3}, piece), (std::vector<std::int64_t>{0, 2, 3}));
}

TEST(RetrievalTest, equal_pictures_do_not_push_each_other_down) {
  const torch::Tensor candidates = torch::tensor({{1.f, 0.f}, {1.f, 0.f}});
  EXPECT_EQ(ranks(torch::tensor({{3.f, 1.f}}), candidates, {1}, 2), (std::vector<std::int64_t>{0}));
}

TEST(RetrievalTest, agrees_with_torch_in_double) {
  const torch::Tensor candidates = torch::sin(torch::arange(70 * 37, torch::kFloat32) * 0.7F).view({70, 37});
  const torch::Tensor painted = torch::cos(torch::arange(5 * 37, torch::kFloat32) * 0.3F).view({5, 37});
  const std::vector<std::int64_t> own = {0, 9, 33, 48, 69};
  const torch::Tensor distance =
      (painted.to(torch::kDouble).unsqueeze(1) - candidates.to(torch::kDouble).unsqueeze(0)).square().sum(2);
  std::vector<std::int64_t> expected;
  for (std::int64_t p = 0; p < 5; ++p)
    expected.push_back(
        (distance[p] < distance[p][own[static_cast<std::size_t>(p)]]).sum().item<std::int64_t>());
  EXPECT_EQ(ranks(painted, candidates, own, 16), expected);
}

TEST(RetrievalTest, summary) {
  const core::Json json = summarize_ranks({0, 0, 1, 7}, 400);
  EXPECT_DOUBLE_EQ(json["top1"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(json["within_1_percent"].get<double>(), 0.75);  // ranks 0, 0, 1 are below 4
  EXPECT_DOUBLE_EQ(json["median_rank"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(json["chance_top1"].get<double>(), 1.0 / 400);
}

}  // namespace
}  // namespace microdit::eval

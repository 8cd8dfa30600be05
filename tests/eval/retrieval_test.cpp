// Retrieval ranks on a hand-made set.
#include "eval/retrieval.h"

#include <gtest/gtest.h>

namespace microdit::eval {
namespace {

TEST(RetrievalTest, counts_the_strictly_nearer) {
  const torch::Tensor candidates = torch::tensor({{0.f, 0.f}, {1.f, 0.f}, {1.f, 0.f}, {5.f, 5.f}});
  const torch::Tensor painted = torch::tensor({{1.f, 0.f}, {1.f, 0.f}, {0.9f, 0.f}});
  EXPECT_EQ(retrieval_ranks(painted, candidates, {1, 0, 3}), (std::vector<std::int64_t>{0, 2, 3}));
}

TEST(RetrievalTest, equal_pictures_do_not_push_each_other_down) {
  const torch::Tensor candidates = torch::tensor({{1.f, 0.f}, {1.f, 0.f}});
  EXPECT_EQ(retrieval_ranks(torch::tensor({{3.f, 1.f}}), candidates, {1}), (std::vector<std::int64_t>{0}));
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

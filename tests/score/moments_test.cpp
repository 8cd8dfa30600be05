// Sums that merge, their files, and distances against closed forms and scipy.
#include "score/moments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>

#include "core/atomic_file.h"
#include "core/error.h"
#include "encoders/temporary_folder.h"
#include "score/frechet.h"
#include "score/npz.h"

namespace microdit::score {
namespace {

using encoders::TemporaryFolder;
using ::testing::HasSubstr;

/// [n, d] by a rule that Python repeats: sin(0.7 i (j + 1) + 1.3 j^2 + shift) + 0.1 (i j mod 3).
torch::Tensor features(std::int64_t n, std::int64_t d, double shift) {
  torch::Tensor x = torch::empty({n, d}, torch::kDouble);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < d; ++j)
      x[i][j] = std::sin(0.7 * static_cast<double>(i * (j + 1)) + 1.3 * static_cast<double>(j * j) + shift) +
                0.1 * static_cast<double>(i * j % 3);
  return x;
}

Gaussian gaussian_of(const torch::Tensor& x) {
  Moments moments(x.size(1));
  moments.add(x);
  return moments.gaussian();
}

std::string error_of(const std::function<void()>& action) {
  return encoders::message_of<core::UserError>(action);
}

TEST(Moments, are_mean_and_covariance) {
  const torch::Tensor x = features(9, 4, 0);
  const Gaussian found = gaussian_of(x);
  EXPECT_EQ(found.n, 9);
  EXPECT_TRUE(at::allclose(found.mu_D, x.mean(0), 1e-13, 1e-13));
  EXPECT_TRUE(at::allclose(found.sigma_DD, x.t().cov(), 1e-12, 1e-13));
}

TEST(Moments, of_parts_are_those_of_the_whole_whoever_made_them) {
  const torch::Tensor x = features(40, 5, 0.3);
  Moments whole(5), merged(5);
  std::vector<Moments> parts;
  for (std::int64_t begin = 0; begin < 40; begin += 7) {
    parts.emplace_back(5);
    parts.back().add(x.narrow(0, begin, std::min<std::int64_t>(7, 40 - begin)));
  }
  whole.add(x);
  for (const Moments& part : parts) merged.merge(part);
  EXPECT_EQ(merged.n, 40);
  EXPECT_TRUE(at::allclose(merged.gaussian().sigma_DD, whole.gaussian().sigma_DD, 1e-12, 1e-13));
}

TEST(Moments, of_one_picture_or_of_no_number_are_refused) {
  EXPECT_THAT(error_of([] { gaussian_of(features(1, 3, 0)); }), HasSubstr("1 picture"));
  torch::Tensor x = features(4, 3, 0);
  x[2][1] = NAN;
  EXPECT_THAT(error_of([&] { gaussian_of(x); }), HasSubstr("not finite"));
}

TEST(Frechet, equals_scipy) {
  // calculate_frechet_distance of pytorch-fid 0.3.0 with scipy 1.15.3 on the same rule.
  EXPECT_NEAR(frechet_distance(gaussian_of(features(40, 6, 0)), gaussian_of(features(31, 6, 0.9))),
              1.2643324515717458, 1e-9);
}

TEST(Frechet, has_the_closed_form_of_diagonal_covariances) {
  const auto diagonal = [](std::vector<double> mu, std::vector<double> var) {
    return Gaussian{9, torch::tensor(mu, torch::kDouble), torch::tensor(var, torch::kDouble).diag()};
  };
  const double expected = 4 + 1 + std::pow(2 - 3, 2) + std::pow(1 - 0.5, 2) + 0.25;
  EXPECT_NEAR(frechet_distance(diagonal({0, 1, 0}, {4, 1, 0}), diagonal({2, 2, 0}, {9, 0.25, 0.25})),
              expected, 1e-12);
}

TEST(Frechet, of_fewer_pictures_than_features) {
  const torch::Tensor x = features(10, 64, 0);
  const Gaussian a = gaussian_of(x);
  EXPECT_NEAR(frechet_distance(a, a), 0, 1e-5);
  // Scaled: (1 - 2)^2 Tr S + |mu|^2.
  const Gaussian b = gaussian_of(x * 2);
  const double expected = a.sigma_DD.trace().item<double>() + a.mu_D.square().sum().item<double>();
  EXPECT_NEAR(frechet_distance(a, b), expected, 1e-5);
}

TEST(Frechet, refuses_other_widths) {
  EXPECT_THAT(
      error_of([] { frechet_distance(gaussian_of(features(5, 3, 0)), gaussian_of(features(5, 4, 0))); }),
      HasSubstr("3 features against statistics of 4"));
}

TEST(Statistics, come_back_as_they_were_written) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a.npz";
  const Gaussian a = gaussian_of(features(12, 5, 0));
  write_statistics(path, {a, "{\"network\":\"none\"}"});
  const Statistics back = read_statistics(path);
  EXPECT_EQ(back.gaussian.n, 12);
  EXPECT_EQ(back.about, "{\"network\":\"none\"}");
  EXPECT_TRUE(at::equal(back.gaussian.mu_D, a.mu_D));
  EXPECT_TRUE(at::equal(back.gaussian.sigma_DD, a.sigma_DD));
}

TEST(Statistics, that_are_none_are_refused) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a.npz";
  const auto refused = [&](const std::function<void(NpzContents&)>& fill) {
    NpzContents contents;
    fill(contents);
    contents.write(path);
    return error_of([&] { read_statistics(path); });
  };
  EXPECT_THAT(refused([](auto& c) { c.add("mu", Array{{1}, {0}}); }), HasSubstr("mu and sigma"));
  EXPECT_THAT(refused([](auto& c) {
                c.add("mu", Array{{2}, {0, 0}});
                c.add("sigma", Array{{3, 3}, std::vector<double>(9)});
              }),
              HasSubstr("[D, D]"));
  EXPECT_THAT(refused([](auto& c) {
                c.add("mu", Array{{2}, {0, 0}});
                c.add("sigma", Array{{2, 2}, {1, 2, 3, 4}});
              }),
              HasSubstr("not symmetric"));
  EXPECT_THAT(refused([](auto& c) {
                c.add("mu", Array{{2}, {0, INFINITY}});
                c.add("sigma", Array{{2, 2}, {1, 0, 0, 1}});
              }),
              HasSubstr("not finite"));
}

TEST(Statistics, parts_know_what_they_are_of) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "part.npz";
  Moments moments(3);
  moments.add(features(5, 3, 0));
  write_moments(path, moments, "this");
  EXPECT_TRUE(at::equal(read_moments(path, "this").outer_DD, moments.outer_DD));
  EXPECT_THAT(error_of([&] { read_moments(path, "that"); }), HasSubstr("other statistics"));
}

}  // namespace
}  // namespace microdit::score

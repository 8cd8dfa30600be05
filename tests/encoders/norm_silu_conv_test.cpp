// Bands of rows against whole pictures: the codec's layers give the same, seams included.
#include "encoders/norm_silu_conv.h"

#include <gtest/gtest.h>
#include <torch/utils.h>

#include "encoders/row_bands.h"
#include "encoders/upsample_conv.h"

namespace microdit::encoders {
namespace {

// Whole where gradients are wanted, in bands where they are not.
struct Both {
  torch::Tensor whole, bands;
};
template <class Layer>
Both both(const Layer& run) {
  Both out;
  out.whole = run().detach();
  const torch::NoGradGuard no_grad;
  out.bands = run();
  return out;
}

void expect_same(const Both& both, double bound) {
  ASSERT_EQ(both.whole.sizes(), both.bands.sizes());
  ASSERT_EQ(both.whole.scalar_type(), both.bands.scalar_type());
  const auto whole = both.whole.to(torch::kFloat32), bands = both.bands.to(torch::kFloat32);
  EXPECT_LE((whole - bands).abs().max().item<double>(), bound * whole.abs().max().item<double>());
}

class RowBands : public testing::TestWithParam<std::int64_t> {
 protected:
  /// Pictures of more than two bands, the last one shorter.
  torch::Tensor pictures(torch::ScalarType type) const {
    torch::manual_seed(3);
    const std::int64_t batch = GetParam(), channels = 32, width = 130;
    const std::int64_t per_row = batch * channels * width * (type == torch::kFloat32 ? 4 : 2);
    return (torch::randn({batch, channels, 9 * kBandBytes / (4 * per_row), width}) + 1)
        .to(type)
        .contiguous(at::MemoryFormat::ChannelsLast);
  }
  NormSiluConv layer() const {
    return {torch::randn({32}), torch::randn({32}), 8, 1e-6, torch::randn({4, 32, 3, 3}) / 17,
            torch::randn({4})};
  }
};

TEST_P(RowBands, NormSiluAndConvolution) {
  const auto x = pictures(torch::kFloat32);
  const auto l = layer();
  expect_same(both([&] { return norm_silu_conv(x, l); }), 1e-6);
}

TEST_P(RowBands, TheSumTakesThePlaceOfWhatIsAddedTo) {
  const auto x = pictures(torch::kFloat32);
  const auto l = layer();
  const auto onto =
      torch::randn({x.size(0), 4, x.size(2), x.size(3)}).contiguous(at::MemoryFormat::ChannelsLast);
  torch::Tensor given;
  expect_same(both([&] {
                given = onto.clone();
                return add_norm_silu_conv(given, x, l);
              }),
              1e-6);
  EXPECT_FALSE(torch::equal(given, onto));
}

TEST_P(RowBands, HalvingAndEnlarging) {
  const auto x = pictures(torch::kFloat32);
  const auto weight = torch::randn({4, 32, 3, 3}) / 17, bias = torch::randn({4});
  expect_same(both([&] { return halving_conv(x, weight, bias); }), 1e-6);
  const auto wide = torch::randn({64, 32, 3, 3}) / 17, wide_bias = torch::randn({64});
  const auto some = x.narrow(2, 0, x.size(2) / 4);
  expect_same(both([&] { return upsample_conv(some, wide, wide_bias); }), 1e-6);
}

TEST_P(RowBands, Bf16) {
  const auto x = pictures(torch::kBFloat16);
  auto l = layer();
  l.weight_OC33 = l.weight_OC33.to(torch::kBFloat16);
  l.bias_O = l.bias_O.to(torch::kBFloat16);
  expect_same(both([&] { return norm_silu_conv(x, l); }), 8e-3);  // one rounding to bf16
}

INSTANTIATE_TEST_SUITE_P(Batches, RowBands, testing::Values(1, 3));

}  // namespace
}  // namespace microdit::encoders

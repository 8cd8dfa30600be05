// The AutoencoderKL network: names, sizes, initialisation, gradients.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "encoders/image_codec.h"

namespace microdit::encoders {
namespace {

AutoencoderConfig small() {
  AutoencoderConfig c;
  c.block_out_channels = {8, 16};
  c.norm_num_groups = 4;
  c.latent_channels = 3;
  return c;
}

TEST(Autoencoder, TheDemonstrationCodecHasDiffusersParameterCount) {
  AutoencoderConfig c;
  c.norm_num_groups = 8;
  c.mid_block_add_attention = false;
  std::int64_t count = 0;
  for (const auto& p : Autoencoder(c).parameters()) count += p.numel();
  EXPECT_EQ(count, 2593015);  // sum over the parameters of diffusers' AutoencoderKL with the same config
}

TEST(Autoencoder, NamesAreThoseOfDiffusers) {
  std::vector<std::string> names;
  for (const auto& item : Autoencoder(small()).named_parameters()) names.push_back(item.key());
  for (const char* name :
       {"encoder.conv_in.weight", "encoder.down_blocks.0.resnets.0.norm1.weight",
        "encoder.down_blocks.0.downsamplers.0.conv.bias",
        "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
        "encoder.mid_block.attentions.0.to_out.0.weight", "encoder.mid_block.attentions.0.group_norm.bias",
        "encoder.mid_block.resnets.1.conv2.weight", "encoder.conv_norm_out.weight", "encoder.conv_out.bias",
        "decoder.up_blocks.0.resnets.1.conv1.weight", "decoder.up_blocks.0.upsamplers.0.conv.weight",
        "decoder.up_blocks.1.resnets.0.conv_shortcut.bias", "quant_conv.weight", "post_quant_conv.bias"})
    EXPECT_THAT(names, testing::Contains(name));
  EXPECT_THAT(names, testing::Not(testing::Contains("encoder.down_blocks.1.downsamplers.0.conv.bias")));
}

TEST(Autoencoder, ShapesFollowTheConfig) {
  Autoencoder net(small());
  net.initialize(1);
  EXPECT_EQ(net.downscale(), 2);
  const auto moments = net.encode_moments(torch::rand({2, 3, 12, 8}));
  EXPECT_EQ(moments.sizes(), (at::IntArrayRef{2, 6, 6, 4}));
  EXPECT_EQ(net.decode(moments.narrow(1, 0, 3)).sizes(), (at::IntArrayRef{2, 3, 12, 8}));
}

TEST(Autoencoder, InitialisationIsAFunctionOfSeedAndName) {
  Autoencoder a(small()), b(small()), other(small());
  AutoencoderConfig without = small();
  without.mid_block_add_attention = false;
  Autoencoder c(without);
  a.initialize(7);
  b.initialize(7);
  c.initialize(7);
  other.initialize(8);
  const auto pa = a.named_parameters(), pb = b.named_parameters(), pc = c.named_parameters();
  const std::string name = "decoder.conv_in.weight";
  for (const auto& item : pa) EXPECT_TRUE(torch::equal(item.value(), pb[item.key()])) << item.key();
  EXPECT_TRUE(torch::equal(pa[name], pc[name]));
  EXPECT_FALSE(torch::equal(pa[name], other.named_parameters()[name]));
  EXPECT_FALSE(torch::equal(pa["encoder.mid_block.resnets.0.conv1.weight"],
                            pa["encoder.mid_block.resnets.1.conv1.weight"]));
}

TEST(Autoencoder, InitialisationHasPyTorchsBounds) {
  Autoencoder net(small());
  net.initialize(2);
  const auto p = net.named_parameters();
  const double bound = 1.0 / std::sqrt(16 * 9.0);  // fan-in of a 3x3 convolution of 16 channels
  for (const char* name :
       {"encoder.mid_block.resnets.0.conv1.weight", "encoder.mid_block.resnets.0.conv1.bias"}) {
    EXPECT_LE(p[name].abs().max().item<double>(), bound);
    EXPECT_GT(p[name].abs().max().item<double>(), 0.8 * bound);
  }
  EXPECT_NEAR(p["encoder.mid_block.resnets.0.conv1.weight"].std().item<double>(), bound / std::sqrt(3.0),
              0.05 * bound);
  EXPECT_TRUE(torch::equal(p["encoder.conv_norm_out.weight"], torch::ones({16})));
  EXPECT_TRUE(torch::equal(p["encoder.conv_norm_out.bias"], torch::zeros({16})));
}

TEST(Autoencoder, EveryParameterGetsItsGradient) {
  Autoencoder net(small());
  net.initialize(3);
  torch::manual_seed(1);
  const auto image = torch::rand({2, 3, 8, 8});
  const auto loss_of = [&] { return net.decode(net.encode_moments(image).narrow(1, 0, 3)).square().mean(); };
  // The convolutions' other output half (log-variance) takes part too, so that nothing is left without a
  // gradient.
  (loss_of() + net.encode_moments(image).square().mean()).backward();
  for (const auto& item : net.named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_TRUE(torch::isfinite(item.value().grad()).all().item<bool>()) << item.key();
  }
  net.zero_grad();
  loss_of().backward();
  const auto weight = net.named_parameters()["decoder.up_blocks.0.resnets.0.norm1.weight"];
  const double expected = weight.grad().sum().item<double>();
  const torch::NoGradGuard no_grad;
  const double step = 1e-2;
  weight.add_(step);
  const double above = loss_of().item<double>();
  weight.sub_(2 * step);
  const double below = loss_of().item<double>();
  EXPECT_NEAR((above - below) / (2 * step), expected, 2e-2 * std::abs(expected) + 1e-5);
}

TEST(Autoencoder, APictureDoesNotDependOnItsBatch) {
  Autoencoder net(small());
  net.initialize(4);
  const torch::NoGradGuard no_grad;
  const auto images = torch::rand({3, 3, 8, 8});
  const auto alone = net.encode_moments(images.narrow(0, 1, 1));
  EXPECT_LT((net.encode_moments(images).narrow(0, 1, 1) - alone).abs().max().item<double>(), 1e-5);
}

}  // namespace
}  // namespace microdit::encoders

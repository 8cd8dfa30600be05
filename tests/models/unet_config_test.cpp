// A U-Net's keys: null as diffusers means it, norms that take the time away, the sizes that are shipped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "models/denoiser.h"
#include "models/small_unet.h"
#include "models/unet_diffusers.h"

namespace microdit::models {
namespace {

TEST(UnetConfig, NullMeansWhatDiffusersMeans) {
  EXPECT_EQ(small({"mid_block_type=null"}).unet.mid_block_type, "none");
  const std::vector<std::string> plain = {"model.kind=unet",
                                          "model._class_name=UNet2DModel",
                                          "model.in_channels=3",
                                          "model.block_out_channels=[8, 16]",
                                          "model.norm_num_groups=4",
                                          "model.down_block_types=[DownBlock2D, AttnDownBlock2D]",
                                          "model.up_block_types=[AttnUpBlock2D, UpBlock2D]",
                                          "model.attention_head_dim=null"};
  ModelFile file = core::load<ModelFile>(core::ConfigTree::of_overrides(plain));
  EXPECT_EQ(file.model.unet.attention_head_dim, std::vector<std::int64_t>{0});
  EXPECT_NE(make_denoiser(file.model, 3), nullptr);
  const ModelFile again = core::load<ModelFile>(core::ConfigTree::parse(core::to_yaml(file)));
  EXPECT_EQ(core::to_json(file), core::to_json(again));
  EXPECT_TRUE(diffusers_config(file.model).at("attention_head_dim").is_null());
  EXPECT_EQ(diffusers_config(small({"attention_head_dim=[1, 2]"})).at("attention_head_dim").dump(), "[1,2]");
}

TEST(UnetConfig, SaysThatANormTakesTheTimeAway) {
  const auto said = [](const std::vector<std::string>& more) {
    testing::internal::CaptureStderr();
    make_uninitialized_denoiser(small(more));
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_THAT(said({"norm_num_groups=8"}), testing::HasSubstr("norm_num_groups"));
  EXPECT_EQ(said({"norm_num_groups=8", "resnet_time_scale_shift=scale_shift"}), "");
  EXPECT_EQ(said({}), "");
}

TEST(UnetConfig, EverySizeThatIsShipped) {
  const std::map<std::string, std::int64_t> expected = {{"unet_ddpm", 35'748'612},
                                                        {"unet_emoji", 15'964'708},
                                                        {"unet_tiny", 5'184'132},
                                                        {"unet_small", 81'480'484},
                                                        {"unet_base", 314'140'228}};
  for (const auto& [name, parameters] : expected) {
    std::vector<std::string> words = {"model.in_channels=4"};
    if (name != "unet_ddpm") words.emplace_back("model.caption_channels=768");
    const auto net = make_uninitialized_denoiser(
        core::load<ModelFile>(std::filesystem::path(MICRODIT_SOURCE_DIR "/configs/models/" + name + ".yaml"),
                              words)
            .model);
    std::int64_t total = 0;
    for (const auto& p : net->parameters()) total += p.numel();
    EXPECT_EQ(total, parameters) << name;
  }
}

}  // namespace
}  // namespace microdit::models

// Codec folders: written, read back, old names, variants, shards, and what is refused.
#include "encoders/image_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/torch_writer.h"
#include "core/weights_file.h"
#include "encoders/codec_folder.h"
#include "nn/state_dict.h"

namespace microdit::encoders {
namespace {

using testing::HasSubstr;

TEST_F(CodecFolder, ReadsBackWhatItWrote) {
  const auto codec = load_image_codec(folder());
  const ImageCodec original(net_, folder());
  EXPECT_EQ(codec->net()->config().shift_factor, 0.125);
  EXPECT_EQ(codec->net()->config().block_out_channels, net_->config().block_out_channels);
  EXPECT_TRUE(torch::equal(codec->encode(pixels_), original.encode(pixels_)));
  for (const auto& p : codec->net()->parameters()) EXPECT_FALSE(p.requires_grad());
}

TEST_F(CodecFolder, HalfPrecisionIsReadToSingle) {
  save_autoencoder(folder(), *net_, true);
  EXPECT_EQ(nn::load_tensors(folder() / kWeights).begin()->second.scalar_type(), torch::kFloat16);
  const auto codec = load_image_codec(folder());
  const auto expected = ImageCodec(net_, folder()).encode(pixels_);
  EXPECT_EQ(codec->net()->parameters().front().scalar_type(), torch::kFloat32);
  EXPECT_LT((codec->encode(pixels_) - expected).abs().max().item<double>(), 2e-2);
}

TEST_F(CodecFolder, EncodeScalesTheMeanAndSamplesWithNoise) {
  const auto codec = load_image_codec(folder());
  const torch::NoGradGuard no_grad;
  const auto image = pixels_.to(torch::kFloat32).permute({0, 3, 1, 2}) / 127.5 - 1;
  const auto moments = net_->encode_moments(image);
  const auto mean = moments.narrow(1, 0, 3), log_variance = moments.narrow(1, 3, 3);
  EXPECT_LT((codec->encode(pixels_) - (mean - 0.125) * 1.25).abs().max().item<double>(), 1e-5);
  const auto noise = torch::randn_like(mean);
  const auto sample = (mean + (0.5 * log_variance).exp() * noise - 0.125) * 1.25;
  EXPECT_LT((codec->encode(pixels_, noise) - sample).abs().max().item<double>(), 1e-5);
}

TEST(CodecGoldens, EqualDiffusersOwn) {
  const std::filesystem::path folder =
      std::filesystem::path(MICRODIT_SOURCE_DIR) / "tests/encoders/goldens/codec";
  const nn::StateDict given = nn::load_tensors(folder / "values.safetensors");
  const auto codec = load_image_codec(folder, "its SHA-256 is of no interest");
  const auto expect_close = [&](const torch::Tensor& ours, const char* name) {
    const torch::Tensor& theirs = given.at(name);
    EXPECT_LT((ours - theirs).norm().item<double>(), 1e-5 * theirs.norm().item<double>()) << name;
  };
  const torch::Tensor moments = codec->moments(given.at("image"));
  expect_close(moments, "moments");
  expect_close(scale_latents(codec->net()->config(), moments.narrow(1, 0, 4)), "encoded");
  expect_close(codec->picture(given.at("latents")), "picture");
}

TEST_F(CodecFolder, DecodeUndoesTheScalingAndRounds) {
  const auto codec = load_image_codec(folder());
  const torch::NoGradGuard no_grad;
  const auto z = torch::randn({2, 3, 4, 6});
  const auto expected =
      ((net_->decode(z / 1.25 + 0.125) / 2 + 0.5).clamp(0, 1) * 255).round().permute({0, 2, 3, 1});
  const auto picture = codec->decode(z);
  EXPECT_EQ(picture.scalar_type(), torch::kUInt8);
  EXPECT_EQ(picture.sizes(), (at::IntArrayRef{2, 8, 12, 3}));
  EXPECT_LE((picture.to(torch::kFloat32) - expected).abs().max().item<double>(), 1.0);
  EXPECT_LT((picture.to(torch::kFloat32) - expected).abs().mean().item<double>(), 0.01);
}

TEST_F(CodecFolder, ALargeBatchGoesThroughInSlices) {
  const auto codec = load_image_codec(folder());
  const auto pixels = torch::randint(0, 256, {6, 8, 12, 3}, torch::kUInt8);
  const auto noise = torch::randn({6, 3, 4, 6});
  const auto latents = codec->encode(pixels), sample = codec->encode(pixels, noise);
  const auto pictures = codec->picture(latents);
  ASSERT_EQ(pictures_at_once(codec->net()->config(), 6, 96, 96 * 16 * 2), 2);
  codec->bound_activations(96 * 16 * 2);
  EXPECT_LT((codec->encode(pixels) - latents).abs().max().item<double>(), 1e-5);
  EXPECT_LT((codec->encode(pixels, noise) - sample).abs().max().item<double>(), 1e-5);
  EXPECT_LT((codec->picture(latents) - pictures).abs().max().item<double>(), 1e-5);
}

TEST(PicturesAtOnce, FollowFromTheSizes) {
  AutoencoderConfig sdxl;
  sdxl.block_out_channels = {128, 256, 512, 512};
  const auto at = [&](std::int64_t batch, std::int64_t side) {
    return pictures_at_once(sdxl, batch, side * side);
  };
  EXPECT_EQ(at(16, 256), 16);
  EXPECT_EQ(at(64, 256), 16);
  EXPECT_EQ(at(16, 512), 4);
  EXPECT_EQ(at(6, 512), 3);  // divisors: all passes have one shape
  EXPECT_EQ(at(7, 512), 1);
  EXPECT_EQ(at(3, 512), 3);
  EXPECT_EQ(at(16, 1024), 1);
  EXPECT_EQ(at(16, 4096), 1);
  EXPECT_EQ(pictures_at_once(AutoencoderConfig(), 256, 64 * 64), 256);
}

TEST_F(CodecFolder, DescribesItself) {
  const core::Json facts = load_image_codec(folder())->describe();
  EXPECT_EQ(facts["kind"], "AutoencoderKL");
  EXPECT_EQ(facts["sha256"], core::sha256_file(folder() / kWeights));
  EXPECT_EQ(facts["scaling_factor"], 1.25);
  EXPECT_EQ(facts["shift_factor"], 0.125);
  EXPECT_EQ(facts["channels"], 3);
  EXPECT_EQ(facts["downscale"], 2);
  EXPECT_EQ(facts["folder"], folder().generic_string());
}

TEST_F(CodecFolder, IsFoundInTheRunFolderWithItsOwnScaling) {
  const TemporaryFolder run;
  CodecFacts facts = load_image_codec(folder())->facts();
  facts.folder = "/no/such/place/of_mine";
  EXPECT_THAT(message_of<core::UserError>([&] { find_image_codec(facts, run.path()); }),
              HasSubstr("/no/such/place/of_mine: not there"));
  std::filesystem::copy(folder(), run.path() / "of_mine");
  EXPECT_EQ(find_image_codec(facts, run.path())->net()->config().scaling_factor, 1.25);
  core::Json json = core::read_json(run.path() / "of_mine/config.json");
  json["scaling_factor"] = 2.5;  // the weights are the same, the latents would not be
  core::write_json(run.path() / "of_mine/config.json", json);
  EXPECT_THAT(message_of<core::UserError>([&] { find_image_codec(facts, run.path()); }), HasSubstr("2.5"));
  json["scaling_factor"] = 1.25;
  json["norm_num_groups"] = 1;  // nor with this one
  core::write_json(run.path() / "of_mine/config.json", json);
  EXPECT_THAT(message_of<core::UserError>([&] { find_image_codec(facts, run.path()); }),
              HasSubstr("norm_num_groups=1"));
  facts.network.clear();  // written before that was compared
  EXPECT_EQ(find_image_codec(facts, run.path())->net()->config().norm_num_groups, 1);
}

TEST_F(CodecFolder, SaysWhatAFileIsThatIsNoSafetensors) {
  const auto said = [&](const std::string& bytes) {
    write_file(folder() / kWeights, bytes);
    return refusal();
  };
  EXPECT_THAT(said("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 335\n"),
              HasSubstr("git lfs pull"));
  EXPECT_THAT(said(std::string("PK\3\4\0\0\0\0\0\0", 10) + std::string(600, 'x')), HasSubstr("PyTorch"));
  EXPECT_THAT(said("<!DOCTYPE html><html>sign in</html>"), HasSubstr("web page"));
  std::filesystem::rename(folder() / kWeights, folder() / "diffusion_pytorch_model.bin");
  EXPECT_THAT(refusal(), HasSubstr("diffusion_pytorch_model.bin"));
}

TEST_F(CodecFolder, NamesTheModelsFolderInAPipeline) {
  const TemporaryFolder pipeline;
  write_file(pipeline.path() / "model_index.json", "{}");
  std::filesystem::copy(folder(), pipeline.path() / "vae");
  EXPECT_THAT(message_of<core::UserError>([&] { load_image_codec(pipeline.path()); }),
              HasSubstr((pipeline.path() / "vae").string()));
}

TEST_F(CodecFolder, AcceptsTheOldAttentionNamesAndShapes) {
  auto state = nn::load_tensors(folder() / kWeights);
  nn::StateDict old;
  const std::map<std::string, std::string> renames = {
      {"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}, {"to_out.0", "proj_attn"}};
  for (const auto& [name, tensor] : state) {
    std::string renamed = name;
    for (const auto& [current, former] : renames)
      if (const auto at = renamed.find(".attentions.0." + current + "."); at != std::string::npos)
        renamed.replace(at + 14, current.size(), former);
    const bool convolution = renamed != name && renamed.ends_with("weight");
    old[renamed] = convolution ? tensor.unsqueeze(2).unsqueeze(3) : tensor;
  }
  ASSERT_TRUE(old.contains("encoder.mid_block.attentions.0.proj_attn.weight"));
  nn::save_tensors(folder() / kWeights, old);
  EXPECT_TRUE(
      torch::equal(load_image_codec(folder())->encode(pixels_), ImageCodec(net_, folder()).encode(pixels_)));
}

TEST_F(CodecFolder, AcceptsTheHalfVariantAndShards) {
  const auto expected = load_image_codec(folder())->encode(pixels_);
  std::filesystem::rename(folder() / kWeights, folder() / "diffusion_pytorch_model.fp16.safetensors");
  EXPECT_TRUE(torch::equal(load_image_codec(folder())->encode(pixels_), expected));

  const auto state = nn::load_tensors(folder() / "diffusion_pytorch_model.fp16.safetensors");
  nn::StateDict parts[2];
  core::Json index;
  for (const auto& [name, tensor] : state) {
    const int part = name.starts_with("encoder") ? 0 : 1;
    parts[part][name] = tensor;
    index["weight_map"][name] = part == 0 ? "a.safetensors" : "b.safetensors";
  }
  nn::save_tensors(folder() / "a.safetensors", parts[0]);
  nn::save_tensors(folder() / "b.safetensors", parts[1]);
  core::write_json(folder() / "diffusion_pytorch_model.safetensors.index.json", index);
  std::filesystem::remove(folder() / "diffusion_pytorch_model.fp16.safetensors");
  EXPECT_TRUE(torch::equal(load_image_codec(folder())->encode(pixels_), expected));
  std::filesystem::remove(folder() / "b.safetensors");
  EXPECT_THAT(refusal(), HasSubstr("b.safetensors"));
}

TEST_F(CodecFolder, AcceptsPyTorchFiles) {
  const auto expected = load_image_codec(folder())->encode(pixels_);
  const core::WeightsFile whole(folder() / kWeights);
  std::filesystem::remove(folder() / kWeights);  // it stays open
  const auto write = [&](const std::string& file, bool encoder, bool decoder) {
    std::map<std::string, core::TensorInfo> tensors;
    for (const auto& [name, info] : whole.tensors())
      if (name.starts_with("encoder") ? encoder : decoder) tensors[name] = info;
    core::write_torch_file(folder() / file, tensors,
                           [&](const std::string& name, std::span<std::byte> out) { whole.read(name, out); });
  };
  const std::filesystem::path one = folder() / "diffusion_pytorch_model.bin";
  write(one.filename(), true, true);
  EXPECT_TRUE(torch::equal(load_image_codec(folder())->encode(pixels_), expected));
  EXPECT_EQ(load_image_codec(folder())->describe().at("sha256"), core::sha256_file(one));
  std::filesystem::remove(one);

  write("a.bin", true, false);
  write("b.bin", false, true);
  core::Json index;
  for (const auto& [name, info] : whole.tensors())
    index["weight_map"][name] = name.starts_with("encoder") ? "a.bin" : "b.bin";
  core::write_json(folder() / "diffusion_pytorch_model.bin.index.json", index);
  EXPECT_TRUE(torch::equal(load_image_codec(folder())->encode(pixels_), expected));
}

TEST_F(CodecFolder, ListsMissingAndExtraTensors) {
  auto state = nn::load_tensors(folder() / kWeights);
  state["stranger.weight"] = state["quant_conv.weight"].clone();
  state.erase("quant_conv.weight");
  nn::save_tensors(folder() / kWeights, state);
  const std::string message = refusal();
  EXPECT_THAT(message, HasSubstr("quant_conv.weight"));
  EXPECT_THAT(message, HasSubstr("stranger.weight"));
}

TEST_F(CodecFolder, RefusesAMissingFolderAndFile) {
  EXPECT_THAT(message_of<core::UserError>([] { load_image_codec("no/such/folder"); }),
              HasSubstr("no/such/folder"));
  std::filesystem::remove(folder() / kWeights);
  EXPECT_THAT(refusal(), HasSubstr(kWeights));
}

TEST(ImageCodec, NoneIsThePicturesThemselves) {
  const auto codec = load_image_codec("none");
  const torch::Tensor pixels =
      torch::arange(256, torch::kInt64).to(torch::kUInt8).view({1, 16, 16, 1}).repeat({2, 1, 1, 3});
  const torch::Tensor latents = codec->encode(pixels);
  EXPECT_EQ(latents.sizes(), (at::IntArrayRef{2, 3, 16, 16}));
  EXPECT_EQ(latents.min().item<float>(), -1);
  EXPECT_EQ(latents.max().item<float>(), 1);
  // Stored as halves, every value of a byte comes back.
  EXPECT_TRUE(torch::equal(codec->decode(latents.to(torch::kHalf).to(torch::kFloat)), pixels));
  EXPECT_EQ(codec->facts().kind, "none");
  EXPECT_EQ(codec->downscale(), 1);
  EXPECT_EQ(find_image_codec(describe_image_codec("none"))->channels(), 3);
}

TEST(ImageCodec, PixelsMayBeGreyAndLieTogether) {
  torch::manual_seed(1);
  const torch::Tensor colour = torch::randint(256, {2, 12, 8, 3}, torch::kUInt8);
  const auto grey = [](const torch::Tensor& rgb) {  // Pillow's L
    const torch::Tensor p = rgb.to(torch::kInt64);
    return (p.select(3, 0) * 19595 + p.select(3, 1) * 38470 + p.select(3, 2) * 7471 + 32768)
        .floor_divide(65536);
  };
  for (const auto& [name, channels, downscale] :
       std::vector<std::tuple<std::string, std::int64_t, std::int64_t>>{
           {"none_2", 12, 2}, {"grey", 1, 1}, {"grey_4", 16, 4}}) {
    const auto codec = load_image_codec(name);
    const torch::Tensor latents = codec->encode(colour);
    EXPECT_EQ(latents.sizes(), (at::IntArrayRef{2, channels, 12 / downscale, 8 / downscale})) << name;
    const torch::Tensor back = codec->decode(latents.to(torch::kHalf).to(torch::kFloat));
    const torch::Tensor wanted =
        name == "none_2" ? colour : grey(colour).to(torch::kUInt8).unsqueeze(3).expand({-1, -1, -1, 3});
    EXPECT_TRUE(torch::equal(back, wanted)) << name;
    const CodecFacts facts = describe_image_codec(name);
    EXPECT_EQ(core::to_json(facts), codec->describe()) << name;
    EXPECT_EQ(find_image_codec(facts)->describe(), codec->describe()) << name;
  }
  for (const char* name : {"none_1", "none_9", "grey_", "grey_22", "Grey"})
    EXPECT_FALSE(pixel_codec(name)) << name;
}

}  // namespace
}  // namespace microdit::encoders

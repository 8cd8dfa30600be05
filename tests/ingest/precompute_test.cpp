// precompute on tiny random encoders: columns, facts, what a latent depends on, what is refused.
#include <torch/cuda.h>
#include <torch/utils.h>
#include <cstdlib>
#include <map>

#include "core/error.h"
#include "core/hash.h"
#include "image/encode.h"
#include "image/resize.h"
#include "ingest/stages.h"
#include "store/manifest.h"
#include "store/shard.h"
#include "tar_writer.h"
#include "tiny_encoders.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

image::Image picture_of(int i) {
  image::Image picture(20, 24);
  for (std::size_t p = 0; p < picture.pixels.size(); ++p)
    picture.pixels[p] = static_cast<std::uint8_t>(p * 7 + static_cast<std::size_t>(i) * 31);
  return picture;
}

class Precompute : public InFolder {
 protected:
  void SetUp() override {
    InFolder::SetUp();
    ::setenv("MICRODIT_DATA", (folder_ / "data").c_str(), 1);
    make_tiny_codec(folder_ / "codec", 1.25);
    make_tiny_bert(folder_ / "bert");
    entry_.name = "t";
    entry_.shard_records = 5;
    entry_.record.caption = {{"name", "txt"}, {"long", "json:long"}};
    entry_.captions.which = {"name", "long"};
    entry_.latents.sizes = {8, 16};
    entry_.latents.codec = folder_ / "codec";
    entry_.latents.text_encoder = folder_ / "bert";
    entry_.latents.text_length = 6;
    entry_.latents.batch_size = 3;
    for (int a = 0; a < 2; ++a) {
      TarWriter tar;
      for (int i = 10 * a; i < 10 * a + 7; ++i) {
        const auto png = image::encode_png(picture_of(i));
        // Two names among seven records; every third has a second caption.
        if (i % 3 == 0) tar.add(fmt::format("{:02}.json", i), R"({"long": "long red"})");
        tar.add(fmt::format("{:02}.png", i), {reinterpret_cast<const char*>(png.data()), png.size()});
        tar.add(fmt::format("{:02}.txt", i), i % 2 ? "name blue" : "name red");
      }
      entry_.source.urls.push_back("file://" + write(fmt::format("{}.tar", a), tar.finished()).string());
    }
    download(entry_, *comm_, stop_);
    clean(entry_, *comm_, stop_);
  }
  void TearDown() override {
    ::unsetenv("MICRODIT_DATA");
    InFolder::TearDown();
  }
  int run() const { return precompute(entry_, *comm_, stop_); }
  void remove_latents() const { fs::remove_all(entry_.latents_folder()); }
  store::ShardReader shard(const std::string& name) const {
    return store::ShardReader(entry_.latents_folder() / name);
  }
  std::map<std::string, std::string> hashes() const {
    std::map<std::string, std::string> all;
    for (const auto& file : fs::recursive_directory_iterator(entry_.latents_folder())) {
      if (file.is_regular_file()) all[file.path().filename().string()] = core::sha256_file(file.path());
    }
    return all;
  }
  torch::Tensor latents(const store::ShardReader& reader, const std::string& column) const {
    std::vector<std::byte> bytes = reader.read(column);
    return torch::from_blob(bytes.data(), reader.column(column).shape, torch::kHalf).clone();
  }
  CatalogueEntry entry_;
  core::StopFlag stop_;
  std::unique_ptr<comm::Communicator> comm_ = comm::make_local_communicator();
};

TEST_F(Precompute, ColumnsAndFacts) {
  ASSERT_EQ(run(), core::kDone);
  const auto manifest = store::Manifest::read(entry_.latents_folder());
  ASSERT_EQ(manifest.shards().size(), 4u);
  const core::Json& facts = manifest.facts;
  EXPECT_EQ(facts["channels"], 3);
  EXPECT_EQ(facts["downscale"], 2);
  EXPECT_EQ(facts["text_width"], 8);
  EXPECT_EQ(facts["text_length"], 6);
  EXPECT_EQ(facts["caption_sources"], core::Json({"name", "long"}));
  EXPECT_EQ(facts["threads_per_rank"], 1);
  const store::ShardReader reader = shard("0-00000.h5");  // records 0 to 4
  EXPECT_EQ(reader.column("latents_8").shape, (std::vector<std::int64_t>{5, 3, 4, 4}));
  EXPECT_EQ(reader.column("latents_16").shape, (std::vector<std::int64_t>{5, 3, 8, 8}));
  EXPECT_EQ(store::read_strings(reader, "text_caption"),
            (std::vector<std::string>{"name red", "long red", "name blue"}));
  EXPECT_EQ(reader.column("text").shape, (std::vector<std::int64_t>{3, 6, 8}));
  EXPECT_EQ(reader.read_as<std::int64_t>("caption_offsets"), (std::vector<std::int64_t>{0, 2, 3, 4, 6, 7}));
  EXPECT_EQ(reader.read_as<std::int32_t>("caption_rows"), (std::vector<std::int32_t>{0, 1, 2, 0, 2, 1, 0}));
  EXPECT_EQ(reader.read_as<std::uint8_t>("caption_source"), (std::vector<std::uint8_t>{0, 1, 0, 0, 0, 1, 0}));
  EXPECT_EQ(reader.read_as<std::int32_t>("text_ids", 0, 1), (std::vector<std::int32_t>{2, 4, 6, 3, 0, 0}));
  EXPECT_EQ(store::read_strings(reader, "key")[4], "04");
  EXPECT_TRUE(store::verify(entry_.latents_folder()).empty());
}

TEST_F(Precompute, LatentsAreTheCodecsOwnOfThePreparedPicture) {
  run();
  const auto codec = encoders::load_image_codec(folder_ / "codec");
  const torch::NoGradGuard no_grad;
  const store::ShardReader reader = shard("1-00001.h5");  // records 15, 16
  for (const int size : {8, 16}) {
    const torch::Tensor stored = latents(reader, fmt::format("latents_{}", size));
    for (int i = 0; i < 2; ++i) {
      image::Image prepared = image::resize_and_center_crop(picture_of(15 + i), size);
      const torch::Tensor pixels =
          torch::from_blob(prepared.pixels.data(), {1, size, size, 3}, torch::kUInt8);
      const torch::Tensor expected = codec->encode(pixels)[0];
      EXPECT_TRUE(torch::allclose(stored[i].to(torch::kFloat), expected, 2e-3, 1e-3)) << size;
    }
  }
}

TEST_F(Precompute, ASampledLatentDependsOnSeedAndKeyAlone) {
  run();
  const torch::Tensor mean = latents(shard("0-00000.h5"), "latents_8");
  remove_latents();
  entry_.latents.codec_latent = "sample";
  run();
  const torch::Tensor one = latents(shard("0-00000.h5"), "latents_8");
  EXPECT_FALSE(torch::equal(one, mean));
  remove_latents();
  entry_.latents.batch_size = 5;  // another batching, the same noise
  run();
  EXPECT_TRUE(torch::allclose(latents(shard("0-00000.h5"), "latents_8").to(torch::kFloat),
                              one.to(torch::kFloat), 2e-3, 2e-3));
  remove_latents();
  entry_.latents.seed = 1;
  run();
  EXPECT_FALSE(torch::allclose(latents(shard("0-00000.h5"), "latents_8").to(torch::kFloat),
                               one.to(torch::kFloat), 2e-2, 2e-2));
}

TEST_F(Precompute, AnyDivisionOfTheWorkGivesTheSameBytes) {
  run();
  const auto whole = hashes();
  run();
  EXPECT_EQ(hashes(), whole);
  remove_latents();
  for (const char* task : {"1/3", "2/3", "0/3"}) {
    entry_.task = task;
    run();
  }
  EXPECT_EQ(hashes(), whole);
}

TEST_F(Precompute, ADamagedSamplesShardIsNamed) {
  const fs::path samples = entry_.samples_folder() / "1-00000.h5";
  const auto at = [&] {
    const store::ShardReader reader(samples);
    return reader.column("image").offset +
           static_cast<std::uint64_t>(reader.read_as<std::int64_t>("image_offsets")[2]) + 9;
  }();
  std::fstream file(samples, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ 8));
  file.close();
  expect_error<core::UserError>([&] { run(); }, {"1-00000.h5", "sample 2 is damaged", "run clean again"});
  EXPECT_FALSE(fs::exists(entry_.latents_folder() / "1-00000.h5"));
  fs::remove(samples);
  clean(entry_, *comm_, stop_);
  EXPECT_EQ(run(), core::kDone);
}

TEST_F(Precompute, WhatIsRefused) {
  CatalogueEntry good = entry_;
  const auto refused = [&](std::initializer_list<const char*> parts) {
    expect_error<core::UserError>([&] { run(); }, parts);
    entry_ = good;
  };
  entry_.latents.sizes = {9};
  refused({"latents.sizes", "9", "no multiple of 2"});
  entry_.latents.codec = folder_ / "nowhere";
  refused({"nowhere"});
  entry_.latents.text_encoder = "";
  refused({"latents.text_encoder"});
  if (!torch::cuda::is_available()) {
    entry_.device = "cuda";
    refused({"device=cuda", "device=cpu"});
  }
  make_tiny_codec(folder_ / "huge", 1e9);
  entry_.latents.codec = folder_ / "huge";
  refused({"latents_8", "fp16", "scaling factor"});
  fs::remove_all(entry_.latents_folder());
  entry_.name = "other";
  refused({"samples/other", "clean makes it"});
}

TEST_F(Precompute, StopIsSeenWithinAShard) {
  stop_.request();
  EXPECT_EQ(run(), core::kRequeueMe);
  EXPECT_FALSE(fs::exists(entry_.latents_folder() / "manifest.jsonl"));
}

}  // namespace
}  // namespace microdit::ingest

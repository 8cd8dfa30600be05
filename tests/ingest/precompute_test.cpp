// precompute on tiny random encoders: columns, facts, what a latent depends on, what is taken over, what is refused.
#include <torch/cuda.h>
#include <torch/utils.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "image/encode.h"
#include "image/resize.h"
#include "ingest/recipe.h"
#include "ingest/stages.h"
#include "store/latent_index.h"
#include "store/manifest.h"
#include "store/shard.h"
#include "tar_writer.h"
#include "tiny_encoders.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSmall = 5;  // the record whose picture is smaller than the larger size

image::Image picture_of(std::int64_t i) {
  image::Image picture(i == kSmall ? 14 : 20, 24);
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
    recipe_.name = "r";
    recipe_.images.sizes = {8, 16};
    recipe_.images.codec = folder_ / "codec";
    recipe_.images.batch_size = 3;
    recipe_.text.encoder = folder_ / "bert";
    recipe_.text.length = 6;
    recipe_.text.batch_size = 3;
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
  /// With recipe_ as it stands now; what was logged.
  int run() {
    entry_.recipe = write(recipe_.name + ".yaml", core::to_yaml(recipe_));
    ::testing::internal::CaptureStderr();
    try {
      const int code = precompute(entry_, *comm_, stop_);
      log_ = ::testing::internal::GetCapturedStderr();
      return code;
    } catch (...) {
      log_ = ::testing::internal::GetCapturedStderr();
      throw;
    }
  }
  fs::path latents_folder() const { return entry_.latents_folder() / recipe_.name; }
  void remove_latents() const { fs::remove_all(entry_.latents_folder()); }
  store::ShardReader shard(const std::string& name) const {
    return store::ShardReader(latents_folder() / name);
  }
  std::map<std::string, std::string> hashes(const std::string& ending = "") const {
    std::map<std::string, std::string> all;
    for (const auto& file : fs::recursive_directory_iterator(latents_folder()))
      if (file.is_regular_file() && file.path().string().ends_with(ending))
        all[file.path().filename().string()] = core::sha256_file(file.path());
    return all;
  }
  torch::Tensor latents(const store::ShardReader& reader, const std::string& column) const {
    std::vector<std::byte> bytes = reader.read(column);
    return torch::from_blob(bytes.data(), reader.column(column).shape, torch::kHalf)
        .clone()
        .to(torch::kFloat);
  }
  /// The latents of one record, found by its key.
  torch::Tensor latents_of(const std::string& file, int record, int size) const {
    const store::ShardReader reader = shard(file);
    const auto keys = store::read_strings(reader, "key");
    const auto at = std::ranges::find(keys, fmt::format("{:02}", record)) - keys.begin();
    const std::string column = fmt::format("latents_{}", size);
    const std::int32_t row = reader.read_as<std::int32_t>(column + "_row").at(static_cast<std::size_t>(at));
    return row < 0 ? torch::Tensor() : latents(reader, column)[row];
  }
  bool logged(const std::string& text) const { return log_.find(text) != std::string::npos; }

  CatalogueEntry entry_;
  Recipe recipe_;
  std::string log_;
  core::StopFlag stop_;
  std::unique_ptr<comm::Communicator> comm_ = comm::make_local_communicator();
};

TEST_F(Precompute, ColumnsAndFacts) {
  ASSERT_EQ(run(), core::kDone);
  const auto manifest = store::Manifest::read(latents_folder());
  ASSERT_EQ(manifest.shards().size(), 8u);
  const core::Json& facts = manifest.facts;
  EXPECT_EQ(facts["recipe"], "r");
  EXPECT_EQ(facts["channels"], 3);
  EXPECT_EQ(facts["downscale"], 2);
  EXPECT_EQ(facts["text_width"], 8);
  EXPECT_EQ(facts["text_length"], 6);
  EXPECT_EQ(facts["pads"], "zero");
  EXPECT_EQ(facts["enlarge"], false);
  EXPECT_EQ(facts["caption_sources"], core::Json({"name", "long"}));
  EXPECT_EQ(facts["threads_per_rank"], 1);
  EXPECT_FALSE(facts.contains("device") || facts.contains("samples_sha256"));
  const auto samples = store::Manifest::read(entry_.samples_folder());
  EXPECT_EQ(manifest.records[0].details["inputs"]["samples_sha256"], samples.shards()[0].sha256);

  const store::ShardReader images = shard("0-00000.images.h5");  // records 0 to 4
  EXPECT_EQ(images.column("latents_8").shape, (std::vector<std::int64_t>{5, 3, 4, 4}));
  EXPECT_EQ(images.column("latents_16").shape, (std::vector<std::int64_t>{5, 3, 8, 8}));
  EXPECT_EQ(images.read_as<std::int32_t>("width"), std::vector<std::int32_t>(5, 24));
  EXPECT_EQ(images.read_as<std::int32_t>("height"), std::vector<std::int32_t>(5, 20));
  EXPECT_EQ(images.read_as<std::uint8_t>("split").size(), 5u);
  EXPECT_TRUE(images.has("latents_8_xxh3") && images.has("latents_16_xxh3"));
  const auto keys = store::read_strings(images, "key");

  const store::ShardReader text = shard("0-00000.text.h5");
  const auto unique = store::read_strings(text, "text_caption");
  EXPECT_EQ(std::set<std::string>(unique.begin(), unique.end()),
            (std::set<std::string>{"name red", "long red", "name blue"}));
  EXPECT_EQ(text.column("text").shape, (std::vector<std::int64_t>{3, 6, 8}));
  EXPECT_EQ(text.read_as<std::int32_t>("text_length"), std::vector<std::int32_t>(3, 4));
  const auto offsets = text.read_as<std::int64_t>("caption_offsets");
  const auto rows = text.read_as<std::int32_t>("caption_rows");
  const auto sources = text.read_as<std::uint8_t>("caption_source");
  ASSERT_EQ(offsets.size(), 6u);
  for (std::size_t i = 0; i < keys.size(); ++i) {  // the same rows in the same order as the pictures
    const int record = std::stoi(keys[i]);
    std::vector<std::pair<int, std::string>> own, expected = {{0, record % 2 ? "name blue" : "name red"}};
    if (record % 3 == 0) expected.push_back({1, "long red"});
    for (auto at = static_cast<std::size_t>(offsets[i]); at < static_cast<std::size_t>(offsets[i + 1]); ++at)
      own.push_back({sources[at], unique[static_cast<std::size_t>(rows[at])]});
    EXPECT_EQ(own, expected) << record;
  }
  const auto red = static_cast<std::int64_t>(std::ranges::find(unique, "name red") - unique.begin());
  EXPECT_EQ(text.read_as<std::int32_t>("text_ids", red, 1), (std::vector<std::int32_t>{2, 4, 6, 3, 0, 0}));
  EXPECT_TRUE(store::verify(latents_folder()).empty());
}

TEST_F(Precompute, ASizeLargerThanThePictureIsLeftOut) {
  run();
  const store::ShardReader images = shard("0-00001.images.h5");  // records 5 and 6
  EXPECT_EQ(images.column("latents_8").rows(), 2);
  EXPECT_EQ(images.column("latents_16").rows(), 1);
  EXPECT_FALSE(latents_of("0-00001.images.h5", kSmall, 16).defined());
  EXPECT_TRUE(latents_of("0-00001.images.h5", 6, 16).defined());
  EXPECT_TRUE(logged("1 of 14 pictures have no latents of 16 px")) << log_;
  EXPECT_TRUE(store::verify(latents_folder()).empty());
  const auto index =
      store::parse_latent_index(core::read_text(latents_folder() / store::kIndexFile), "index");
  EXPECT_EQ(index.shards.size(), 4u);
  remove_latents();
  recipe_.images.enlarge = true;
  run();
  EXPECT_EQ(shard("0-00001.images.h5").column("latents_16").rows(), 2);
  EXPECT_FALSE(logged("have no latents"));
}

TEST_F(Precompute, AShardOfSmallPicturesAloneHasNoRowOfALargerSize) {
  recipe_.images.sizes = {8, 32};
  EXPECT_EQ(run(), core::kDone);
  EXPECT_EQ(shard("1-00000.images.h5").column("latents_32").rows(), 0);
  EXPECT_TRUE(store::verify(latents_folder()).empty());
}

TEST_F(Precompute, LatentsAreTheCodecsOwnOfThePreparedPicture) {
  run();
  const auto codec = encoders::load_image_codec(folder_ / "codec");
  const torch::NoGradGuard no_grad;
  for (const int size : {8, 16}) {
    for (const int record : {15, 16}) {
      image::Image prepared = image::resize_and_center_crop(picture_of(record), size);
      const torch::Tensor pixels =
          torch::from_blob(prepared.pixels.data(), {1, size, size, 3}, torch::kUInt8);
      const torch::Tensor expected = codec->encode(pixels)[0];
      EXPECT_TRUE(torch::allclose(latents_of("1-00001.images.h5", record, size), expected, 2e-3, 1e-3))
          << size;
    }
  }
}

TEST_F(Precompute, ASampledLatentDependsOnSeedAndPictureAlone) {
  run();
  const torch::Tensor mean = latents_of("0-00000.images.h5", 3, 8);
  remove_latents();
  recipe_.images.latent = "sample";
  run();
  const torch::Tensor one = latents_of("0-00000.images.h5", 3, 8);
  EXPECT_FALSE(torch::equal(one, mean));
  remove_latents();
  recipe_.images.batch_size = 5;  // another batching, the same noise
  run();
  EXPECT_TRUE(torch::allclose(latents_of("0-00000.images.h5", 3, 8), one, 2e-3, 2e-3));
  remove_latents();
  recipe_.images.seed = 1;
  run();
  EXPECT_FALSE(torch::allclose(latents_of("0-00000.images.h5", 3, 8), one, 2e-2, 2e-2));
}

TEST_F(Precompute, TwoPicturesOfOneNameHaveNoiseOfTheirOwn) {
  // Two archives with the record "00": the same size, other pixels. Their noise would be the same if the name keyed it.
  entry_.name = "two";
  entry_.source.urls.clear();
  for (int a = 0; a < 2; ++a) {
    image::Image picture(16, 16, static_cast<std::uint8_t>(a));  // the posterior's mean hardly differs
    const auto png = image::encode_png(picture);
    TarWriter tar;
    tar.add("00.png", {reinterpret_cast<const char*>(png.data()), png.size()}).add("00.txt", "name red");
    entry_.source.urls.push_back("file://" + write(fmt::format("two{}.tar", a), tar.finished()).string());
  }
  entry_.captions.which = {"name"};
  download(entry_, *comm_, stop_);
  clean(entry_, *comm_, stop_);
  const auto difference = [&] {
    run();
    const auto value = (latents_of("two0-00000.images.h5", 0, 16) - latents_of("two1-00000.images.h5", 0, 16))
                           .abs()
                           .max()
                           .item<double>();
    remove_latents();
    return value;
  };
  const double of_means = difference();
  recipe_.images.latent = "sample";
  EXPECT_GT(difference(), 20 * of_means);
}

TEST_F(Precompute, AnyDivisionOfTheWorkGivesTheSameBytes) {
  run();
  const auto whole = hashes();
  EXPECT_TRUE(logged("encoded 14 pictures")) << log_;
  run();
  EXPECT_EQ(hashes(), whole);
  EXPECT_FALSE(logged("encoded")) << log_;  // nothing to do: nothing is loaded
  remove_latents();
  for (const char* task : {"1/3", "2/3", "0/3"}) {
    entry_.task = task;
    run();
  }
  EXPECT_EQ(hashes(), whole);
  remove_latents();
  entry_.task = "";
  entry_.decode_workers = 3;
  run();
  EXPECT_EQ(hashes(), whole);
  remove_latents();
  for (const char* part : {"text", "images"}) {
    EXPECT_FALSE(fs::exists(latents_folder() / "manifest.jsonl"));
    entry_.part = part;
    EXPECT_EQ(run(), core::kDone);
  }
  EXPECT_EQ(hashes(), whole);
}

TEST_F(Precompute, ASecondTextEncoderEncodesNoPictureAgain) {
  run();
  const auto images = hashes(".images.h5");
  recipe_.name = "other_text";
  recipe_.text.length = 5;
  EXPECT_EQ(run(), core::kDone);
  EXPECT_EQ(hashes(".images.h5"), images);
  EXPECT_TRUE(logged("took over the latents of 14 samples (4 shards)")) << log_;
  EXPECT_TRUE(logged("encoded 0 pictures and")) << log_;
  EXPECT_EQ(fs::hard_link_count(latents_folder() / "0-00000.images.h5"), 2u);
  EXPECT_TRUE(store::verify(latents_folder()).empty());

  recipe_.name = "other_codec";  // its text is that of other_text
  recipe_.images.seed = 3;
  EXPECT_EQ(run(), core::kDone);
  EXPECT_TRUE(logged("took over the text rows of 14 samples (4 shards)")) << log_;
  EXPECT_TRUE(logged("encoded 14 pictures and 0 captions")) << log_;
  recipe_.name = "both";
  EXPECT_EQ(run(), core::kDone);
  EXPECT_FALSE(logged("encoded")) << log_;
  const auto taken = hashes(".h5");
  fs::remove_all(entry_.latents_folder() / "other_codec");
  fs::remove_all(entry_.latents_folder() / "other_text");
  fs::remove_all(latents_folder());
  run();  // made by itself it is the same
  EXPECT_EQ(hashes(".h5"), taken);
}

TEST_F(Precompute, ShardsOfOtherSamplesAreNotTakenOver) {
  run();
  fs::remove_all(entry_.samples_folder());
  entry_.splits.held_out = 0.5;  // other bytes in every samples shard
  clean(entry_, *comm_, stop_);
  recipe_.name = "later";
  EXPECT_EQ(run(), core::kDone);
  EXPECT_FALSE(logged("took over")) << log_;
  EXPECT_TRUE(logged("encoded 14 pictures")) << log_;
}

TEST_F(Precompute, Int8RowsAreCloseAndSayHowClose) {
  run();
  const torch::Tensor exact = latents(shard("0-00000.text.h5"), "text");
  recipe_.name = "int8";
  recipe_.text.int8 = true;
  run();
  const store::ShardReader reader = shard("0-00000.text.h5");
  EXPECT_EQ(reader.column("text").dtype, core::DType::i8);
  const auto scales = reader.read_as<float>("text_scale");
  const auto bytes = reader.read("text");
  const auto& shape = reader.column("text").shape;
  const torch::Tensor scale = torch::from_blob(const_cast<float*>(scales.data()), {shape[0], shape[1], 1});
  const torch::Tensor rows =
      torch::from_blob(const_cast<std::byte*>(bytes.data()), shape, torch::kInt8).to(torch::kFloat) * scale;
  const double error = (rows - exact).abs().max().item<double>();
  EXPECT_GT(error, 0);
  EXPECT_LT(error, exact.abs().max().item<double>() / 200);
  const core::Json said = store::Manifest::read(latents_folder()).records[1].details["int8_error"];
  EXPECT_NEAR(said["max"].get<double>(), error, 1e-3);
  EXPECT_LT(said["mean"].get<double>(), said["max"].get<double>());
  EXPECT_GT(said["mean"].get<double>(), 0);
  EXPECT_TRUE(store::verify(latents_folder()).empty());
}

TEST_F(Precompute, TokensAloneNeedNoWeights) {
  run();
  const auto ids = shard("0-00000.text.h5").read_as<std::int32_t>("text_ids");
  recipe_.name = "tokens";
  recipe_.text.tokens_only = true;
  run();
  const store::ShardReader reader = shard("0-00000.text.h5");
  EXPECT_FALSE(reader.has("text"));
  EXPECT_EQ(reader.read_as<std::int32_t>("text_ids"), ids);
  EXPECT_EQ(reader.read_as<std::int32_t>("text_length"), std::vector<std::int32_t>(3, 4));
  EXPECT_TRUE(store::verify(latents_folder()).empty());
}

TEST_F(Precompute, CaptionsThatAreCutAreCountedOnce) {
  run();
  EXPECT_FALSE(logged("are cut"));
  remove_latents();
  recipe_.text.length = 3;
  run();
  EXPECT_TRUE(logged("12 of 12 captions are longer than text.length 3 (longest 4 tokens)")) << log_;
  EXPECT_EQ(log_.find("are longer"), log_.rfind("are longer"));
  EXPECT_EQ(shard("0-00000.text.h5").read_as<std::int32_t>("text_length"), std::vector<std::int32_t>(3, 3));
  const core::Json details = store::Manifest::read(latents_folder()).records[1].details;
  EXPECT_EQ(details["captions"], 3);
  EXPECT_EQ(details["cut"], 3);
  EXPECT_EQ(details["longest"], 4);
}

TEST_F(Precompute, Bf16IsCloseAndRecorded) {
  run();
  const torch::Tensor exact = latents_of("0-00000.images.h5", 1, 16);
  const torch::Tensor text = latents(shard("0-00000.text.h5"), "text");
  recipe_.name = "bf16";
  recipe_.images.precision = recipe_.text.precision = "bf16";
  run();
  const torch::Tensor rounded = latents_of("0-00000.images.h5", 1, 16);
  EXPECT_FALSE(torch::equal(rounded, exact));
  EXPECT_LT((rounded - exact).norm().item<double>(), 0.03 * exact.norm().item<double>());
  const torch::Tensor rounded_text = latents(shard("0-00000.text.h5"), "text");
  EXPECT_FALSE(torch::equal(rounded_text, text));
  EXPECT_LT((rounded_text - text).norm().item<double>(), 0.03 * text.norm().item<double>());
  EXPECT_EQ(store::Manifest::read(latents_folder()).facts["image_precision"], "bf16");
}

TEST_F(Precompute, ADamagedSamplesShardIsNamedAndTheOthersAreMade) {
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
  EXPECT_EQ(run(), core::kUserMistake);
  for (const char* part : {"1-00000.h5", "sample 2 is damaged", "run clean again"})
    EXPECT_TRUE(logged(part)) << log_;
  EXPECT_FALSE(fs::exists(latents_folder() / "1-00000.images.h5"));
  EXPECT_TRUE(fs::exists(latents_folder() / "1-00001.images.h5"));
  fs::remove(samples);
  clean(entry_, *comm_, stop_);
  EXPECT_EQ(run(), core::kDone);
  EXPECT_TRUE(logged("encoded 5 pictures")) << log_;
}

TEST_F(Precompute, WhatIsRefused) {
  const CatalogueEntry good = entry_;
  const Recipe good_recipe = recipe_;
  const auto refused = [&](std::initializer_list<const char*> parts) {
    expect_error<core::UserError>([&] { run(); }, parts);
    entry_ = good;
    recipe_ = good_recipe;
  };
  recipe_.images.sizes = {9};
  refused({"images.sizes", "9", "no multiple of 2"});
  recipe_.images.codec = folder_ / "nowhere";
  refused({"nowhere"});
  recipe_.text.encoder = folder_ / "no_text";
  refused({"no_text"});
  recipe_.text.length = 11;
  refused({"text length 11", "10"});
  if (!torch::cuda::is_available()) {
    entry_.device = "cuda";
    refused({"device=cuda", "device=cpu"});
  }
  make_tiny_codec(folder_ / "huge", 1e9);
  recipe_.images.codec = folder_ / "huge";
  EXPECT_EQ(run(), core::kUserMistake);
  for (const char* part : {"4 of 8 items failed", "latents_8", "fp16", "scaling factor"})
    EXPECT_TRUE(logged(part)) << part << " in " << log_;
  recipe_ = good_recipe;
  remove_latents();
  entry_.name = "other";
  refused({"samples/other", "clean makes it"});
  fs::create_directories(entry_.latents_folder());
  std::ofstream(entry_.latents_folder() / "facts.json") << R"({"stage": "latents", "format": 1})";
  refused({"latents/t", "written by an older microdit (format 1)", "run precompute again"});
}

TEST_F(Precompute, StopIsSeenWithinAShard) {
  stop_.request();
  EXPECT_EQ(run(), core::kRequeueMe);
  EXPECT_FALSE(fs::exists(latents_folder() / "manifest.jsonl"));
}

TEST_F(Precompute, WeightsAreHashedOnce) {
  run();
  const fs::path kept = folder_ / "codec/.microdit_sha256.json";
  ASSERT_TRUE(fs::exists(kept));
  const auto sha256 =
      core::read_json(kept)["diffusion_pytorch_model.safetensors"]["sha256"].get<std::string>();
  EXPECT_EQ(sha256, core::sha256_file(folder_ / "codec/diffusion_pytorch_model.safetensors"));
  const fs::path weights = folder_ / "codec/diffusion_pytorch_model.safetensors";
  std::fstream file(weights, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\x11');
  file.close();
  expect_error<core::UserError>([&] { run(); }, {"made with other settings", "codec.sha256"});
}

}  // namespace
}  // namespace microdit::ingest

// precompute on tiny random encoders: columns, facts, what a latent depends on, what is refused.
#include <torch/cuda.h>

#include "ingest/encode_images.h"
#include "precompute_fixture.h"

namespace microdit::ingest {
namespace {

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

TEST_F(Precompute, APictureThatCannotBePreparedLeavesTheOtherRowsAsTheyAre) {
  const auto codec = encoders::load_image_codec(folder_ / "codec");
  recipe_.images.sizes = {8};
  recipe_.images.latent = "sample";
  const auto row_bytes = [&](std::int64_t left_out, std::vector<std::int32_t> rows) {
    ImageEncoder encoder(recipe_.images, *codec, torch::kCPU);
    for (std::int64_t i = 0; i < 7; ++i) {
      const image::Image square = image::resize_and_center_crop(picture_of(i), 8);
      if (i == left_out)
        encoder.keep_place(8);
      else
        EXPECT_EQ(encoder.add(square, "", static_cast<std::uint64_t>(i)), rows[static_cast<std::size_t>(i)]);
    }
    const store::Column column = encoder.finish().at(0);
    const auto bytes = std::ssize(column.bytes) / column.shape[0];
    std::map<std::int64_t, std::vector<std::byte>> found;
    for (std::int64_t i = 0; i < 7; ++i) {
      const auto begin = column.bytes.begin() + rows[static_cast<std::size_t>(i)] * bytes;
      if (i != left_out) found[i] = {begin, begin + bytes};
    }
    EXPECT_EQ(column.shape[0], std::ssize(found));
    return found;
  };
  auto whole = row_bytes(-1, {0, 1, 2, 3, 4, 5, 6});
  for (const std::int64_t left_out : {1, 6}) {  // inside a batch of three, and alone in the last one
    std::vector<std::int32_t> rows;
    for (std::int32_t i = 0; i < 7; ++i) rows.push_back(i - (i > left_out));
    auto expected = whole;
    expected.erase(left_out);
    EXPECT_TRUE(row_bytes(left_out, rows) == expected) << left_out;
  }
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

TEST_F(Precompute, TheIndexIsMadeOfTheRecords) {
  ASSERT_EQ(run(), core::kDone);
  const std::string index = core::read_text(latents_folder() / "index.1.bin");
  const auto records = hashes(".json");
  // The same of the shards alone, as in a folder whose records have no notes.
  for (const char* name : {"index.1.bin", "index.bin"}) fs::remove(latents_folder() / name);
  EXPECT_TRUE(store::write_latent_index(latents_folder(), store::Manifest::read(latents_folder())));
  EXPECT_EQ(core::read_text(latents_folder() / "index.1.bin"), index);
  // Closed anew while no shard can be opened as one.
  for (const auto& file : fs::directory_iterator(latents_folder())) {
    const std::string name = file.path().filename().string();
    if (name.ends_with(".h5"))
      std::ofstream(file.path(), std::ios::binary) << std::string(file.file_size(), 'x');
    if (name.starts_with("index.") || name.starts_with("manifest.")) fs::remove(file.path());
  }
  EXPECT_EQ(run(), core::kDone);
  EXPECT_EQ(core::read_text(latents_folder() / "index.1.bin"), index);
  EXPECT_EQ(hashes(".json"), records);
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

TEST_F(Precompute, DryRunsSeeAStop) {
  entry_.recipe = write(recipe_.name + ".yaml", core::to_yaml(recipe_));
  core::StopFlag stopped;
  stopped.request();
  EXPECT_TRUE(describe_precompute(entry_, stop_));
  EXPECT_FALSE(describe_precompute(entry_, stopped));
  fs::remove_all(entry_.samples_folder());
  EXPECT_TRUE(describe_clean(entry_, stop_));
  EXPECT_FALSE(describe_clean(entry_, stopped));
}

}  // namespace
}  // namespace microdit::ingest

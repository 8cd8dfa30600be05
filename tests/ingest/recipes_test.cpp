// Recipes beside one another: what is taken over, int8 rows, tokens alone, cut captions, bf16, weights hashed once.
#include "ingest/encode_text.h"
#include "precompute_fixture.h"

namespace microdit::ingest {
namespace {

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
  entry_.splits.held_out = 1;  // other bytes in every samples shard
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

/// What a config says beside its weights, changed: `undo` puts it back.
TEST_F(Precompute, RowsOfAnotherEncoderAreNotAddedToAFolder) {
  const fs::path config = folder_ / "bert/config.json", vocabulary = folder_ / "bert/vocab.txt";
  entry_.part = "text";
  run();
  const auto all = hashes();
  fs::remove(latents_folder() / "records/1-00000.text.json");  // a shard is still to be made
  const core::Json plain = core::read_json(config);
  core::Json changed = plain;
  changed["num_attention_heads"] = 4;
  core::write_json(config, changed);
  expect_error<core::UserError>([&] { run(); },
                                {"made with other settings", "text_encoder.network", "heads=2", "heads=4",
                                 "put the encoder's former files back"});
  changed = {{"_name_or_path", "elsewhere"}};  // not used, and another order
  for (const auto& [key, value] : plain.items()) changed[key] = value;
  core::write_json(config, changed);
  const std::string words = core::read_text(vocabulary);
  core::atomic_write(vocabulary, "[PAD]\n[UNK]\n[CLS]\n[SEP]\nlong\nname\nred\nblue\n");
  expect_error<core::UserError>([&] { run(); },
                                {"made with other settings", "text_encoder.tokenizer_sha256"});
  core::atomic_write(vocabulary, words);
  EXPECT_EQ(run(), core::kDone);
  EXPECT_EQ(hashes(".text.h5").size(), 4u);
}

TEST_F(Precompute, AFolderOlderThanTheEncodersSettingsIsGoneOnWith) {
  run();
  core::Json facts = core::read_json(latents_folder() / "facts.json");
  for (const char* encoder : {"codec", "text_encoder"})
    for (const char* key : {"network", "tokenizer_sha256"}) facts[encoder].erase(key);
  remove_latents();
  fs::create_directories(latents_folder());
  core::write_json(latents_folder() / "facts.json", facts);
  EXPECT_EQ(run(), core::kDone);
  EXPECT_FALSE(store::Manifest::read(latents_folder()).facts["text_encoder"].contains("network"));
}

TEST_F(Precompute, AStopIsHeardBeforeWeightsAreHashed) {
  stop_.request();
  EXPECT_EQ(run(), core::kRequeueMe);
  EXPECT_FALSE(fs::exists(folder_ / "bert/.microdit_sha256.json"));
  EXPECT_FALSE(fs::exists(latents_folder()));
}

TEST_F(Precompute, CaptionsOfLikeLengthAreEncodedTogetherAndLieInTheirOwnOrder) {
  recipe_.text.batch_size = 2;
  entry_.part = "text";
  const CaptionEncoder encoder(recipe_.text, torch::kCPU, "", stop_);
  const std::vector<std::string> captions = {"red blue long name", "red", "name long blue red", "blue", ""};
  std::vector<std::byte> rows;
  const auto tokens = encoder.tokenize(captions, stop_);
  const auto take = [&](std::span<const std::byte> more) {
    rows.insert(rows.end(), more.begin(), more.end());
  };
  ASSERT_TRUE(encoder.encode(captions, *tokens, take, stop_));
  const torch::Tensor all = torch::from_blob(rows.data(), {5, 6, 8}, torch::kHalf);
  const auto text = encoders::load_text_encoder(folder_ / "bert");
  // The bits of a row are those of the batch that it shares with captions of its length.
  for (const auto& batch : std::vector<std::vector<std::int64_t>>{{4, 1}, {3, 0}, {2}}) {
    std::vector<std::string> mine;
    for (const auto i : batch) mine.push_back(captions[static_cast<std::size_t>(i)]);
    const torch::Tensor expected = text->encode(mine, 6).states_BLD.to(torch::kHalf);
    for (std::size_t i = 0; i < batch.size(); ++i)
      EXPECT_TRUE(torch::equal(all[batch[i]], expected[static_cast<std::int64_t>(i)])) << batch[i];
  }
}

TEST_F(Precompute, AStopIsHeardBetweenCaptions) {
  const CaptionEncoder encoder(recipe_.text, torch::kCPU, "", stop_);
  stop_.request();
  EXPECT_FALSE(encoder.tokenize({"red", "blue"}, stop_));
}

TEST_F(Precompute, WithFlipsEachPictureIsTwoSamples) {
  run();
  const torch::Tensor plain = latents(shard("0-00001.images.h5"), "latents_8");  // records 5 and 6
  const auto text_plain = shard("0-00001.text.h5");
  const auto unique = store::read_strings(text_plain, "text_caption");
  const auto rows = text_plain.read_as<std::int32_t>("caption_rows");
  const auto offsets = text_plain.read_as<std::int64_t>("caption_offsets");
  remove_latents();
  recipe_.images.flips = true;
  EXPECT_EQ(run(), core::kDone);
  EXPECT_TRUE(store::verify(latents_folder()).empty());
  const auto manifest = store::Manifest::read(latents_folder());
  EXPECT_EQ(manifest.facts["flips"], true);
  EXPECT_TRUE(logged("1 of 14 pictures have no latents of 16 px")) << log_;
  std::int64_t samples = 0;
  for (const auto& entry : manifest.shards()) samples += entry.rows;
  EXPECT_EQ(samples, 2 * 2 * 14);  // pictures and captions of 14 records
  const store::ShardReader images = shard("0-00001.images.h5");
  EXPECT_EQ(store::read_strings(images, "key"), (std::vector<std::string>{"05", "05#flip", "06", "06#flip"}));
  EXPECT_EQ(images.read_as<std::int32_t>("height"), (std::vector<std::int32_t>{14, 14, 20, 20}));
  EXPECT_EQ(images.read_as<std::int32_t>("latents_8_row"), (std::vector<std::int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(images.read_as<std::int32_t>("latents_16_row"), (std::vector<std::int32_t>{-1, -1, 0, 1}));
  const torch::Tensor both = latents(images, "latents_8");
  const auto codec = encoders::load_image_codec(folder_ / "codec");
  const torch::NoGradGuard no_grad;
  for (const int i : {0, 1}) {
    image::Image prepared = image::resize_and_center_crop(picture_of(5 + i), 8);
    const torch::Tensor pixels = torch::from_blob(prepared.pixels.data(), {1, 8, 8, 3}, torch::kUInt8);
    EXPECT_TRUE(torch::allclose(both[2 * i], plain[i], 2e-3, 1e-3));
    EXPECT_TRUE(torch::allclose(both[2 * i + 1], codec->encode(pixels.flip(2))[0], 2e-3, 1e-3));
    EXPECT_FALSE(torch::allclose(both[2 * i + 1], plain[i], 2e-2, 2e-2));
  }
  const store::ShardReader text = shard("0-00001.text.h5");
  EXPECT_EQ(store::read_strings(text, "text_caption"), unique);
  const auto doubled = text.read_as<std::int64_t>("caption_offsets");
  const auto doubled_rows = text.read_as<std::int32_t>("caption_rows");
  ASSERT_EQ(doubled.size(), 2 * offsets.size() - 1);
  for (std::size_t i = 0; i + 1 < doubled.size(); ++i) {
    const std::vector<std::int32_t> own(doubled_rows.begin() + doubled[i],
                                        doubled_rows.begin() + doubled[i + 1]),
        expected(rows.begin() + offsets[i / 2], rows.begin() + offsets[i / 2 + 1]);
    EXPECT_EQ(own, expected);
  }
  // Another recipe without flips takes nothing of it over.
  recipe_.name = "plain";
  recipe_.images.flips = false;
  EXPECT_EQ(run(), core::kDone);
  EXPECT_FALSE(logged("took over"));
}

}  // namespace
}  // namespace microdit::ingest

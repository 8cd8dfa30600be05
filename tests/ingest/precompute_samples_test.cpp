// What precompute reads of a samples shard, and how it knows that it is the manifest's.
#include "ingest/samples_shard.h"
#include "precompute_fixture.h"

namespace microdit::ingest {
namespace {

TEST_F(Precompute, ADamagedSamplesShardIsNamedAndTheOthersAreMade) {
  const fs::path samples = entry_.samples_folder() / "1-00000.h5";
  const auto at = [&] {
    const store::ShardReader reader(samples);
    return reader.column("image").offset +
           static_cast<std::uint64_t>(reader.read_as<std::int64_t>("image_offsets")[2]) + 9;
  }();
  flip_bit(samples, at);
  EXPECT_EQ(run(), core::kUserMistake);
  for (const char* part : {"1-00000.h5", "sample 2 is damaged", "run clean again"})
    EXPECT_TRUE(logged(part)) << log_;
  EXPECT_FALSE(fs::exists(latents_folder() / "1-00000.images.h5"));
  EXPECT_TRUE(fs::exists(latents_folder() / "1-00000.text.h5"));  // a picture is hit, no caption
  EXPECT_TRUE(fs::exists(latents_folder() / "1-00001.images.h5"));
  fs::remove(samples);
  clean(entry_, *comm_, stop_);
  EXPECT_EQ(run(), core::kDone);
  EXPECT_TRUE(logged("encoded 5 pictures")) << log_;
}

/// Bytes that this process has read so far.
std::int64_t bytes_read() {
  std::ifstream io("/proc/self/io");
  for (std::string line; std::getline(io, line);)
    if (line.starts_with("rchar:")) return std::stoll(line.substr(6));
  return -1;
}

TEST_F(Precompute, CaptionsAreMadeWithoutReadingThePictures) {
  entry_.name = "big";
  entry_.captions.which = {"name"};
  TarWriter tar;
  std::uint32_t noise = 1;
  for (int i = 0; i < 4; ++i) {
    image::Image picture(600, 600);
    for (std::uint8_t& value : picture.pixels)
      value = static_cast<std::uint8_t>((noise = noise * 1664525u + 1013904223u) >> 24);
    const auto png = image::encode_png(picture);
    tar.add(fmt::format("{}.png", i), {reinterpret_cast<const char*>(png.data()), png.size()});
    tar.add(fmt::format("{}.txt", i), "name red");
  }
  entry_.source.urls = {"file://" + write("big.tar", tar.finished()).string()};
  download(entry_, *comm_, stop_);
  clean(entry_, *comm_, stop_);
  const fs::path samples = entry_.samples_folder() / "big-00000.h5";
  ASSERT_GT(fs::file_size(samples), 4'000'000u);

  entry_.part = "text";
  const std::int64_t before = bytes_read();
  ASSERT_GT(before, 0);
  EXPECT_EQ(run(), core::kDone);
  EXPECT_LT(bytes_read() - before, 1'000'000);
  const auto made = hashes(".h5");
  EXPECT_EQ(made.size(), 1u);

  const auto place_of = [&](const char* column) { return store::ShardReader(samples).column(column).offset; };
  flip_bit(samples, place_of("image") + 1000);
  remove_latents();
  EXPECT_EQ(run(), core::kDone);  // no picture is looked at
  EXPECT_EQ(hashes(".h5"), made);
  entry_.part = "images";
  EXPECT_EQ(run(), core::kUserMistake);
  EXPECT_TRUE(logged("is damaged")) << log_;
  entry_.part = "text";
  for (const char* column : {"caption.name", "caption.name_offsets", "key"}) {
    remove_latents();
    flip_bit(samples, place_of(column) + 1);
    EXPECT_EQ(run(), core::kUserMistake) << column;
    EXPECT_TRUE(logged(fmt::format("column `{}` does not match its checksum", column))) << log_;
    flip_bit(samples, place_of(column) + 1);
  }
}

TEST_F(Precompute, CaptionsAreTakenOfTheManifestsShardAlone) {
  entry_.captions.which = {"name"};
  entry_.part = "text";
  const auto make = [&](const std::string& name, const char* first, const char* second) {
    entry_.name = name;
    TarWriter tar;
    for (int i = 0; i < 2; ++i) {
      const auto png = image::encode_png(picture_of(i));
      tar.add(fmt::format("{}.png", i), {reinterpret_cast<const char*>(png.data()), png.size()});
      tar.add(fmt::format("{}.txt", i), i == 0 ? first : second);
    }
    entry_.source.urls = {"file://" + write(name + ".tar", tar.finished()).string()};
    download(entry_, *comm_, stop_);
    clean(entry_, *comm_, stop_);
    return entry_.samples_folder() / (name + "-00000.h5");
  };
  const fs::path other = make("two", "name blue", "name red"), own = make("one", "name red", "name blue");
  ASSERT_EQ(fs::file_size(own), fs::file_size(other));
  fs::copy_file(own, folder_ / "kept.h5");
  fs::copy_file(other, own, fs::copy_options::overwrite_existing);
  EXPECT_EQ(run(), core::kUserMistake);  // whole in itself, of the same length, with other captions
  EXPECT_TRUE(logged("is another file than its manifest says")) << log_;
  fs::copy_file(folder_ / "kept.h5", own, fs::copy_options::overwrite_existing);
  EXPECT_EQ(run(), core::kDone);

  // A record without fingerprints, as clean used to write it: all of the shard is read.
  const store::Record record = store::Manifest::read(entry_.samples_folder()).records.at(0);
  const std::string fingerprint = record.details.at("fingerprints").at(0).get<std::string>();
  flip_bit(own, store::ShardReader(own).column("image").offset + 20);
  const auto open = [&](const std::string& noted) {
    SamplesShard(entry_.samples_folder(), record.shards.at(0), SamplesUse::captions, noted);
  };
  EXPECT_NO_THROW(open(fingerprint));
  expect_error<core::UserError>([&] { open(""); }, {"is damaged", "run clean again"});
}

}  // namespace
}  // namespace microdit::ingest

// download (file://) and clean end to end in one process: columns, skips, splits, damage, being run again.
#include <cstdlib>
#include <map>

#include "core/error.h"
#include "core/hash.h"
#include "image/encode.h"
#include "ingest/stages.h"
#include "store/manifest.h"
#include "store/shard.h"
#include "tar_writer.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

std::string png(std::int64_t width, std::int64_t height, std::uint8_t grey) {
  const auto bytes = image::encode_png(image::Image(height, width, grey));
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Clean : public InFolder {
 protected:
  void SetUp() override {
    InFolder::SetUp();
    ::setenv("MICRODIT_DATA", (folder_ / "data").c_str(), 1);
    entry_.name = "t";
    entry_.shard_records = 4;
    entry_.record.caption = {{"name", "txt"}, {"long", "json:long"}};
    entry_.captions.which = {"name", "long"};
    entry_.splits.held_out = 0.5;
    entry_.splits.group = "json:base";
  }
  void TearDown() override {
    ::unsetenv("MICRODIT_DATA");
    InFolder::TearDown();
  }
  /// `count` good records, three of a base.
  TarWriter tar_of(int begin, int count) const {
    TarWriter tar;
    for (int i = begin; i < begin + count; ++i) {
      const std::string key = fmt::format("{:03}", i);
      tar.add(key + ".json", fmt::format(R"({{"long": "long {}", "base": "b{}"}})", i, i / 3));
      tar.add(key + ".png", png(20 + i, 10, static_cast<std::uint8_t>(i)))
          .add(key + ".txt", fmt::format("name {}", i));
    }
    return tar;
  }
  void use(const std::string& name, const std::string& bytes) {
    entry_.source.urls.push_back("file://" + write(name, bytes).string());
  }
  int run_download() const { return download(entry_, *comm_, stop_); }
  int run_clean() const { return clean(entry_, *comm_, stop_); }
  /// Name -> SHA-256 of every file of the samples folder, hidden ones too.
  std::map<std::string, std::string> hashes() const {
    std::map<std::string, std::string> all;
    for (const auto& file : fs::recursive_directory_iterator(entry_.samples_folder())) {
      if (file.is_regular_file()) all[file.path().filename().string()] = core::sha256_file(file.path());
    }
    return all;
  }
  CatalogueEntry entry_;
  core::StopFlag stop_;
  std::unique_ptr<comm::Communicator> comm_ = comm::make_local_communicator();
};

TEST_F(Clean, ColumnsKeepBytesCaptionsAndOrder) {
  use("a.tar", tar_of(0, 6).finished());
  ASSERT_EQ(run_download(), core::kDone);
  ASSERT_EQ(run_clean(), core::kDone);
  const auto manifest = store::Manifest::read(entry_.samples_folder());
  ASSERT_EQ(manifest.shards().size(), 2u);  // 4 records a shard
  EXPECT_EQ(manifest.shards()[0].file, "a-00000.h5");
  EXPECT_EQ(manifest.shards()[1].rows, 2);
  const store::ShardReader shard(entry_.samples_folder() / "a-00001.h5");
  EXPECT_EQ(store::read_strings(shard, "key"), (std::vector<std::string>{"004", "005"}));
  EXPECT_EQ(store::read_strings(shard, "image"), (std::vector<std::string>{png(24, 10, 4), png(25, 10, 5)}));
  EXPECT_EQ(store::read_strings(shard, "caption.name")[1], "name 5");
  EXPECT_EQ(store::read_strings(shard, "caption.long")[0], "long 4");
  EXPECT_EQ(shard.read_as<std::int32_t>("width"), (std::vector<std::int32_t>{24, 25}));
  EXPECT_TRUE(store::verify(entry_.samples_folder()).empty());
}

TEST_F(Clean, ABaseStaysOnOneSideOfTheSplit) {
  use("a.tar", tar_of(0, 30).finished());
  run_download();
  run_clean();
  std::map<std::string, std::map<int, int>> sides;
  int held_out = 0;
  for (const auto& entry : store::Manifest::read(entry_.samples_folder()).shards()) {
    const store::ShardReader shard(entry_.samples_folder() / entry.file);
    const auto keys = store::read_strings(shard, "key");
    const auto splits = shard.read_as<std::uint8_t>("split");
    for (std::size_t i = 0; i < keys.size(); ++i) ++sides[std::to_string(std::stoi(keys[i]) / 3)][splits[i]];
    for (const auto split : splits) held_out += split;
  }
  for (const auto& [base, counts] : sides) EXPECT_EQ(counts.size(), 1u) << base;
  EXPECT_GT(held_out, 0);
  EXPECT_LT(held_out, 30);
}

TEST_F(Clean, SkipsAreCountedByReason) {
  TarWriter tar = tar_of(0, 6);
  tar.add("x1.png", png(9, 9, 0))
      .add("x2.txt", "no picture")
      .add("x3.png", "no png")
      .add("x3.txt", "t")
      .add("x3.json", R"({"base": "b"})");
  tar.add("000.png", png(9, 9, 0)).add("000.txt", "again");
  tar.add("x4.png", png(40, 40, 3).substr(0, 60)).add("x4.txt", "cut off").add("x4.json", R"({"base": "b"})");
  use("a.tar", tar.finished());
  entry_.filters.min_side = 10;
  run_download();
  ASSERT_EQ(run_clean(), core::kDone);
  const core::Json details = store::Manifest::read(entry_.samples_folder()).records.at(0).details;
  EXPECT_EQ(
      details["skipped"],
      core::Json::parse(R"({"bad_header":1,"duplicate_key":1,"no_caption":1,"no_image":1,"undecodable":1})"));
  EXPECT_EQ(details["kept"], 6);
  fs::remove_all(entry_.samples_folder());
  entry_.filters.max_skip_fraction = 0.1;
  expect_error<core::UserError>([&] { run_clean(); },
                                {"a.tar", "5 of 11", "max_skip_fraction", "no_caption"});
  EXPECT_FALSE(fs::exists(entry_.samples_folder() / "manifest.jsonl"));
  entry_.filters = {.min_side = 11};  // pictures are 10 high
  fs::remove_all(entry_.samples_folder());
  expect_error<core::UserError>([&] { run_clean(); }, {"too_small\":6"});
}

TEST_F(Clean, AnyDivisionOfTheWorkGivesTheSameBytes) {
  for (int i = 0; i < 5; ++i) use(fmt::format("{}.tar", i), tar_of(10 * i, 7).finished());
  run_download();
  run_clean();
  const auto whole = hashes();
  run_clean();  // again: nothing changes
  EXPECT_EQ(hashes(), whole);
  fs::remove_all(entry_.samples_folder());
  for (const char* task : {"2/3", "0/3", "1/3"}) {
    EXPECT_FALSE(fs::exists(entry_.samples_folder() / "manifest.jsonl"));
    entry_.task = task;
    EXPECT_EQ(run_clean(), core::kDone);
  }
  EXPECT_EQ(hashes(), whole);
}

TEST_F(Clean, LeftoversOfAKilledLifeDisappear) {
  use("a.tar", tar_of(0, 6).finished());
  use("b.tar", tar_of(10, 6).finished());
  run_download();
  run_clean();
  const auto whole = hashes();
  fs::remove(entry_.samples_folder() / "records/a.json");
  write("data/samples/t/.a-00001.h5.j0r0p1.tmp", "half");
  write("data/samples/t/records/.a.json.j0r0p1.tmp", "half");
  write("data/samples/t/.b-00000.h5.j0r0p2.tmp", "another task's");
  entry_.task = "0/2";
  fs::remove(entry_.samples_folder() / "manifest.jsonl");
  fs::remove(entry_.samples_folder() / "records/b.json");
  run_clean();
  EXPECT_FALSE(fs::exists(entry_.samples_folder() / ".a-00001.h5.j0r0p1.tmp"));
  EXPECT_TRUE(fs::exists(entry_.samples_folder() / ".b-00000.h5.j0r0p2.tmp"));  // its owner may be alive
  entry_.task = "1/2";
  run_clean();
  EXPECT_EQ(hashes(), whole);
}

TEST_F(Clean, DamagedRawFilesAreFoundAndFetchedAgain) {
  use("a.tar", tar_of(0, 6).finished());
  run_download();
  const fs::path raw = entry_.raw_folder() / "a.tar";
  fs::resize_file(raw, 3000);
  expect_error<core::UserError>([&] { run_clean(); }, {"a.tar", "remove it and run download again"});
  fs::remove(raw);
  expect_error<core::UserError>([&] { run_clean(); }, {"a.tar", "missing"});
  run_download();
  EXPECT_EQ(run_clean(), core::kDone);
}

TEST_F(Clean, StopIsSeenBetweenItemsAndTheNextStartContinues) {
  use("a.tar", tar_of(0, 6).finished());
  run_download();
  stop_.request();
  EXPECT_EQ(run_clean(), core::kRequeueMe);
  EXPECT_FALSE(fs::exists(entry_.samples_folder() / "manifest.jsonl"));
  const core::StopFlag none;
  EXPECT_EQ(clean(entry_, *comm_, none), core::kDone);
}

TEST_F(Clean, ATruncatedSourceIsTheUsersToMend) {
  use("a.tar", tar_of(0, 6).finished().substr(0, 4000));
  run_download();
  expect_error<core::UserError>([&] { run_clean(); }, {"a.tar", "truncated"});
}

TEST_F(Clean, OtherSettingsNeedAnotherFolder) {
  use("a.tar", tar_of(0, 6).finished());
  run_download();
  run_clean();
  entry_.filters.min_side = 5;
  expect_error<core::UserError>([&] { run_clean(); }, {"other settings", "min_side"});
}

TEST_F(Clean, LooseFilesAreRecordsToo) {
  entry_.archive = "none";
  entry_.splits.group = "";
  for (const char* key : {"p", "q"}) {
    use(std::string(key) + ".png", png(12, 12, 7));
    use(std::string(key) + ".txt", key);
  }
  run_download();
  ASSERT_EQ(run_clean(), core::kDone);
  const store::ShardReader shard(entry_.samples_folder() / "files-00000.h5");
  EXPECT_EQ(store::read_strings(shard, "caption.name"), (std::vector<std::string>{"p", "q"}));
}

TEST_F(Clean, DownloadChecksDigestsAndNamesWhatIsMissing) {
  use("a.tar", "bytes");
  entry_.source.sha256["a.tar"] = std::string(64, '0');
  expect_error<core::UserError>([&] { run_download(); },
                                {"a.tar", "source.sha256", std::string(64, '0').c_str()});
  EXPECT_FALSE(fs::exists(entry_.raw_folder() / "a.tar"));
  entry_.source.sha256["a.tar"] = core::sha256(std::as_bytes(std::span("bytes", 5)));
  EXPECT_EQ(run_download(), core::kDone);
  fs::remove(folder_ / "a.tar");
  EXPECT_EQ(run_download(), core::kDone);  // it is there: the source is not needed
  fs::remove(entry_.raw_folder() / "a.tar");
  expect_error<core::UserError>([&] { run_download(); }, {"a.tar", "no such file"});
}

TEST_F(Clean, DownloadRefusesASourceThatChanged) {
  use("a.tar", "bytes");
  run_download();
  write("a.tar", "other bytes");
  fs::remove(entry_.raw_folder() / "a.tar");
  expect_error<core::UserError>([&] { run_download(); }, {"a.tar", "the source has changed"});
}

}  // namespace
}  // namespace microdit::ingest

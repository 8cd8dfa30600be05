// download (file://) and clean end to end in one process: columns, order, skips, splits.
#include <algorithm>
#include <set>

#include "clean_folder.h"
#include "store/byte_rows.h"

namespace microdit::ingest {
namespace {

TEST_F(Clean, ColumnsKeepBytesAndCaptionsOfEveryRecord) {
  use("a.tar", tar_of(0, 6).finished());
  ASSERT_EQ(run_download(), core::kDone);
  ASSERT_EQ(run_clean(), core::kDone);
  const auto manifest = samples();
  ASSERT_EQ(manifest.shards().size(), 2u);  // 4 records a shard
  EXPECT_EQ(manifest.shards()[0].file, "a-00000.h5");
  EXPECT_EQ(manifest.shards()[1].rows, 2);
  std::set<std::string> seen;
  for (const auto& entry : manifest.shards()) {
    const store::ShardReader shard(entry_.samples_folder() / entry.file);
    const auto keys = store::read_strings(shard, "key");
    for (std::size_t row = 0; row < keys.size(); ++row) {
      const int i = std::stoi(keys[row]);
      EXPECT_EQ(i / 4, entry.file == "a-00001.h5");
      seen.insert(keys[row]);
      EXPECT_EQ(store::read_strings(shard, "image")[row], png(20 + i, 10, static_cast<std::uint8_t>(i)));
      EXPECT_EQ(store::read_strings(shard, "caption.name")[row], fmt::format("name {}", i));
      EXPECT_EQ(store::read_strings(shard, "caption.long")[row], fmt::format("long {}", i));
      EXPECT_EQ(shard.read_as<std::int32_t>("width")[row], 20 + i);
    }
  }
  EXPECT_EQ(seen.size(), 6u);
  EXPECT_TRUE(store::verify(entry_.samples_folder()).empty());
}

// Neighbours of an archive are strewn over their shard, by its name alone.
TEST_F(Clean, RowsAreInAnOrderThatTheShardsNameDecides) {
  entry_.shard_records = 30;
  for (const char* name : {"a.tar", "b.tar"}) use(name, tar_of(0, 30).finished());
  run_download();
  ASSERT_EQ(run_clean(), core::kDone);
  std::vector<std::vector<std::string>> orders;
  for (const auto& entry : samples().shards())
    orders.push_back(store::read_strings(store::ShardReader(entry_.samples_folder() / entry.file), "key"));
  ASSERT_EQ(orders.size(), 2u);
  EXPECT_FALSE(std::ranges::is_sorted(orders[0]));
  EXPECT_NE(orders[0], orders[1]);
}

TEST_F(Clean, ShardsCloseByBytesToo) {
  entry_.shard_records = 1000;
  entry_.shard_bytes = 3 * static_cast<std::int64_t>(png(25, 10, 0).size());
  use("a.tar", tar_of(0, 12).finished());
  run_download();
  ASSERT_EQ(run_clean(), core::kDone);
  EXPECT_GE(samples().shards().size(), 4u);
  std::int64_t rows = 0;
  for (const auto& entry : samples().shards()) {
    const store::ShardReader shard(entry_.samples_folder() / entry.file);
    EXPECT_LE(shard.column("image").rows(), entry_.shard_bytes);
    rows += entry.rows;
  }
  EXPECT_EQ(rows, 12);
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

TEST_F(Clean, SkipsAreCountedByReasonOverAllArchives) {
  TarWriter tar = tar_of(0, 6);
  tar.add("x1.png", png(9, 9, 0))
      .add("x2.txt", "no picture")
      .add("x3.png", "no png")
      .add("x3.txt", "t")
      .add("x3.json", R"({"base": "b"})");
  tar.add("000.png", png(9, 9, 0)).add("000.txt", "again");
  tar.add("x4.png", png(40, 40, 3).substr(0, 60)).add("x4.txt", "cut off").add("x4.json", R"({"base": "b"})");
  use("a.tar", tar.finished());
  use("b.tar", TarWriter().add("y.txt", "no picture").finished());
  run_download();
  // Three records of ten are more than the default allows, in all archives together; every reason has an example.
  expect_error<core::UserError>([&] { run_clean(); }, {"6 of 12 records kept", "damaged.no_image 2 (e.g. x2)",
                                                       "damaged.duplicate_key 1 (e.g. 000)",
                                                       "filters.max_damaged_fraction = 0.05", "raise it"});
  EXPECT_FALSE(fs::exists(entry_.samples_folder() / "manifest.jsonl"));
  const auto before = times();
  entry_.filters.max_damaged_fraction = 0.5;  // as the message says; nothing is made again
  ASSERT_EQ(run_clean(), core::kDone);
  for (const auto& [name, time] : before) EXPECT_EQ(times().at(name), time) << name;
  const core::Json details = samples().records.at(0).details;
  std::int64_t skipped = 0;
  for (const auto& [reason, entry] : details["skipped"].items())
    skipped += entry["count"].get<std::int64_t>();
  EXPECT_EQ(skipped, 5);
  EXPECT_EQ(details["kept"], 6);
  EXPECT_EQ(samples().records.at(1).shards.size(), 0u);  // an archive without a good record is no mistake
}

TEST_F(Clean, LostCaptionsOfKeptRecordsAreCountedBySource) {
  entry_.splits.group = "";
  TarWriter tar;
  for (int i = 0; i < 6; ++i)
    tar.add(fmt::format("{}.png", i), png(20, 10, 1))
        .add(fmt::format("{}.txt", i), i == 4 ? "\xff" : "t")
        .add(fmt::format("{}.json", i), i % 3 == 0 ? "{" : R"({"long": "l"})");
  use("a.tar", tar.finished());
  run_download();
  for (int life = 0; life < 2; ++life) {
    ::testing::internal::CaptureStderr();
    ASSERT_EQ(run_clean(), core::kDone);
    const std::string log = ::testing::internal::GetCapturedStderr();
    EXPECT_NE(log.find("6 of 6 records kept"), std::string::npos) << log;
    EXPECT_NE(log.find("long: damaged.json 2 (e.g. 0), name: damaged.utf8 1 (e.g. 4)"), std::string::npos)
        << log;
    fs::remove(entry_.samples_folder() / "manifest.jsonl");  // a later life says it, too
  }
}

TEST_F(Clean, FiltersAreNoDamage) {
  use("a.tar", tar_of(0, 6).finished());
  run_download();
  entry_.filters.min_side = 11;  // pictures are 10 high
  expect_error<core::UserError>([&] { run_clean(); },
                                {"0 of 6 records kept", "filtered.too_small 6", "nothing is left"});
  fs::remove_all(entry_.samples_folder());
  TarWriter tar = tar_of(0, 6);
  tar.add("z.png", png(30, 30, 0)).add("z.txt", "large").add("z.json", R"({"base": "z"})");
  write("a.tar", tar.finished());
  fs::remove(entry_.raw_folder() / "records/a.tar.json");
  ASSERT_EQ(run_download(), core::kDone);
  EXPECT_EQ(run_clean(), core::kDone);  // one of seven is kept, and that is what was asked for
  EXPECT_EQ(samples().shards().at(0).rows, 1);
}

TEST_F(Clean, OneBadArchiveStopsNoOther) {
  use("a.tar", tar_of(10, 6).finished().substr(0, 4000));  // download sees the first bytes alone
  use("b.tar", tar_of(0, 6).finished());
  ASSERT_EQ(run_download(), core::kDone);
  EXPECT_TRUE(fs::exists(entry_.raw_folder() / "b.tar"));
  EXPECT_EQ(run_clean(), core::kUserMistake);
  EXPECT_NE(reason(entry_.samples_folder(), "a").find("truncated"), std::string::npos);
  EXPECT_TRUE(fs::exists(entry_.samples_folder() / "records/b.json"));
}

TEST_F(Clean, OtherSettingsNeedAnotherFolder) {
  use("a.tar", tar_of(0, 6).finished());
  run_download();
  run_clean();
  entry_.filters.min_side = 5;
  expect_error<core::UserError>([&] { run_clean(); }, {"other settings", "min_side"});
}

TEST_F(Clean, DownloadChecksDigestsAndNamesWhatIsMissing) {
  const std::string bytes = tar_of(0, 1).finished();
  use("a.tar", bytes);
  entry_.source.sha256["a.tar"] = std::string(64, '0');
  EXPECT_EQ(run_download(), core::kUserMistake);
  EXPECT_NE(reason(entry_.raw_folder(), "a.tar").find("source.sha256"), std::string::npos);
  EXPECT_FALSE(fs::exists(entry_.raw_folder() / "a.tar"));
  entry_.source.sha256["a.tar"] = core::sha256(std::as_bytes(std::span(bytes)));
  EXPECT_EQ(run_download(), core::kDone);
  fs::remove(folder_ / "a.tar");
  EXPECT_EQ(run_download(), core::kDone);  // it is there: the source is not needed
  fs::remove(entry_.raw_folder() / "a.tar");
  EXPECT_EQ(run_download(), core::kUserMistake);
  EXPECT_NE(reason(entry_.raw_folder(), "a.tar").find("no such file"), std::string::npos);
}

TEST_F(Clean, AFileThatWasRemovedIsTakenAsTheSourceHasItNow) {
  use("a.tar", tar_of(0, 1).finished());
  run_download();
  write("a.tar", tar_of(1, 1).finished());
  fs::remove(entry_.raw_folder() / "a.tar");
  EXPECT_EQ(run_download(), core::kDone);
  EXPECT_EQ(store::Manifest::read(entry_.raw_folder()).generation, 2);
}

TEST_F(Clean, AManifestDoesNotSayWhereItsSourceLay) {
  entry_.max_failed_items = 1;
  entry_.source.pattern = {"*.tar"};
  const auto time = fs::file_time_type::clock::now();
  std::vector<std::string> raw, samples;
  for (const char* place : {"here", "over there/my files"}) {
    // Not in the data root: one is no archive, one ends too early.
    write(std::string(place) + "/good.tar", tar_of(0, 6).finished());
    write(std::string(place) + "/no.tar", "no archive at all");
    write(std::string(place) + "/short.tar", tar_of(10, 6).finished().substr(0, 4000));
    for (const auto& file : fs::directory_iterator(folder_ / place)) fs::last_write_time(file.path(), time);
    entry_.source.folder = (folder_ / place).string();
    ASSERT_EQ(run_download(), core::kDone);
    ASSERT_EQ(run_clean(), core::kDone);
    EXPECT_NE(reason(entry_.raw_folder(), "no.tar").find(place), std::string::npos);  // for people, it does
    raw.push_back(core::read_text(entry_.raw_folder() / "manifest.jsonl"));
    samples.push_back(core::read_text(entry_.samples_folder() / "manifest.jsonl"));
    fs::remove_all(folder_ / "data");
  }
  EXPECT_NE(raw[0].find("no.tar is no tar"), std::string::npos) << raw[0];
  EXPECT_EQ(raw[0], raw[1]);
  EXPECT_NE(samples[0].find("truncated"), std::string::npos) << samples[0];
  EXPECT_EQ(samples[0], samples[1]);
}

TEST_F(Clean, PicturesCanStayWhereTheyLie) {
  entry_.images = "reference";
  use("a.tar", tar_of(0, 6).finished());
  run_download();
  ASSERT_EQ(run_clean(), core::kDone);
  std::set<std::string> seen;
  for (const auto& entry : samples().shards()) {
    const store::ShardReader shard(entry_.samples_folder() / entry.file);
    EXPECT_FALSE(shard.has("image"));
    const store::ByteRows pictures(shard, "image");
    const auto keys = store::read_strings(shard, "key");
    for (std::size_t row = 0; row < keys.size(); ++row) {
      const int i = std::stoi(keys[row]);
      const auto bytes = pictures.read(static_cast<std::int64_t>(row));
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                png(20 + i, 10, static_cast<std::uint8_t>(i)));
      seen.insert(keys[row]);
    }
  }
  EXPECT_EQ(seen.size(), 6u);
  // Whoever changes the archive hears of it.
  write("data/raw/t/a.tar", tar_of(50, 6).finished());
  const store::ShardReader shard(entry_.samples_folder() / "a-00000.h5");
  const store::ByteRows pictures(shard, "image");
  expect_error<core::UserError>([&] { pictures.read(0); }, {"a.tar", "has changed since"});
}

// Beside its caption, and in a folder whose name has a dot: v1.5/1.png lies in raw as v1.5_1.png.
TEST_F(Clean, LooseFilesCanStayWhereTheyLie) {
  entry_.images = "reference";
  entry_.archive = "none";
  entry_.shard_records = 2;
  entry_.splits.group = "";
  for (int i = 0; i < 5; ++i) {
    use(fmt::format("v1.5_{}.png", i), png(20 + i, 10, static_cast<std::uint8_t>(i)));
    use(fmt::format("v1.5_{}.txt", i), "t");
  }
  run_download();
  ASSERT_EQ(run_clean(), core::kDone);
  const auto manifest = samples();
  EXPECT_EQ(manifest.records.size(), 3u);  // two records an item
  std::set<std::string> seen;
  for (const auto& entry : manifest.shards()) {
    const store::ShardReader shard(entry_.samples_folder() / entry.file);
    const store::ByteRows pictures(shard, "image");
    const auto keys = store::read_strings(shard, "key");
    for (std::size_t row = 0; row < keys.size(); ++row) {
      const int i = keys[row].back() - '0';
      const auto bytes = pictures.read(static_cast<std::int64_t>(row));
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                png(20 + i, 10, static_cast<std::uint8_t>(i)));
      seen.insert(keys[row]);
    }
  }
  EXPECT_EQ(seen, (std::set<std::string>{"v1.5_0", "v1.5_1", "v1.5_2", "v1.5_3", "v1.5_4"}));
}

}  // namespace
}  // namespace microdit::ingest

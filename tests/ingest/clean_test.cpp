// download (file://) and clean end to end in one process: columns, skips, splits, damage, being run again.
#include <cstdlib>
#include <map>
#include <set>
#include <thread>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "image/encode.h"
#include "ingest/stages.h"
#include "store/byte_rows.h"
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
  /// Why an item of a stage's folder failed.
  static std::string reason(const fs::path& folder, const std::string& item) {
    return core::read_json(folder / "records" / (item + ".failed.json")).at("reason").get<std::string>();
  }
  store::Manifest samples() const { return store::Manifest::read(entry_.samples_folder()); }
  std::map<std::string, fs::file_time_type> times() const {
    std::map<std::string, fs::file_time_type> all;
    for (const auto& file : fs::recursive_directory_iterator(entry_.samples_folder()))
      if (file.is_regular_file()) all[file.path().filename().string()] = file.last_write_time();
    return all;
  }
  /// Does what "rm FILE" in a message says.
  static void do_as_printed(const std::string& message) {
    const std::size_t begin = message.find("rm /") + 3;
    ASSERT_TRUE(fs::remove(message.substr(begin, message.find(' ', begin) - begin))) << message;
  }
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
  use("a.tar", std::string(4096, 'q'));
  use("b.tar", tar_of(0, 6).finished());
  entry_.source.parallel = 1;
  const int downloaded =
      run_download();  // download may see that it is no archive, and then goes on as clean does
  EXPECT_TRUE(fs::exists(entry_.raw_folder() / "b.tar"));
  entry_.max_failed_items = 1;
  if (downloaded != core::kDone) {
    ASSERT_EQ(run_download(), core::kDone);
  }
  entry_.max_failed_items = 0;
  const int code = run_clean();
  EXPECT_TRUE(downloaded == core::kUserMistake || code == core::kUserMistake);
  EXPECT_TRUE(fs::exists(entry_.samples_folder() / "records/b.json"));
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
  write("data/samples/t/records/a-00007.part.json", "half");
  entry_.task = "0/2";
  for (const char* name : {"manifest.jsonl", "manifest.1.jsonl", "records/b.json"})
    fs::remove(entry_.samples_folder() / name);
  run_clean();
  EXPECT_FALSE(fs::exists(entry_.samples_folder() / ".a-00001.h5.j0r0p1.tmp"));
  EXPECT_TRUE(fs::exists(entry_.samples_folder() / ".b-00000.h5.j0r0p2.tmp"));  // its owner may be alive
  entry_.task = "1/2";
  run_clean();
  EXPECT_EQ(hashes(), whole);
}

// Another slot is making a lost shard again: whoever has nothing to do neither closes the folder nor touches a file.
TEST_F(Clean, ASlotWithNothingToDoTouchesNothing) {
  use("a.tar", tar_of(0, 6).finished());
  use("b.tar", tar_of(10, 6).finished());
  run_download();
  run_clean();
  const auto whole = hashes();
  for (const char* name : {"manifest.jsonl", "manifest.1.jsonl", "a-00000.h5"})
    fs::remove(entry_.samples_folder() / name);
  const fs::path live =
      entry_.samples_folder() / ("." + std::string("a-00000.h5.") + core::generation() + ".tmp");
  write(("data/samples/t" / live.filename()).string(), "being written");
  const auto before = hashes();
  entry_.task = "1/2";  // b is its share, and done
  EXPECT_EQ(run_clean(), core::kDone);
  EXPECT_EQ(hashes(), before);
  fs::remove(live);
  entry_.task = "0/2";
  EXPECT_EQ(run_clean(), core::kDone);
  EXPECT_EQ(hashes(), whole);
}

TEST_F(Clean, DamagedRawFilesAreFoundAndFetchedAgain) {
  use("a.tar", tar_of(0, 6).finished());
  run_download();
  const fs::path raw = entry_.raw_folder() / "a.tar";
  fs::resize_file(raw, 3000);
  EXPECT_EQ(run_clean(), core::kUserMistake);
  EXPECT_NE(reason(entry_.samples_folder(), "a").find("is not what was downloaded"), std::string::npos);
  fs::remove(raw);
  EXPECT_EQ(run_clean(), core::kUserMistake);
  EXPECT_NE(reason(entry_.samples_folder(), "a").find("missing: run download again"), std::string::npos);
  run_download();
  EXPECT_EQ(run_clean(), core::kDone);
  EXPECT_FALSE(fs::exists(entry_.samples_folder() / "records/a.failed.json"));
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

TEST_F(Clean, AStopInsideAnArchiveKeepsItsShards) {
  use("a.tar", tar_of(0, 1000).finished());
  run_download();
  const fs::path second = entry_.samples_folder() / "records/a-00001.part.json";
  std::jthread stopper([&] {
    while (!fs::exists(second)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    stop_.request();
  });
  ASSERT_EQ(run_clean(), core::kRequeueMe);
  stopper.join();
  const auto before = times();
  EXPECT_LT(before.size(), 2u * 250);  // it did not go on to the end
  const core::StopFlag none;
  ASSERT_EQ(clean(entry_, *comm_, none), core::kDone);
  for (const auto& [name, time] : before) {
    if (name.ends_with(".h5")) {
      EXPECT_EQ(times().at(name), time) << name;
    }
    if (name.ends_with(".part.json")) {
      EXPECT_FALSE(times().contains(name)) << name;
    }
  }
  const auto continued = hashes();
  fs::remove_all(entry_.samples_folder());
  ASSERT_EQ(clean(entry_, *comm_, none), core::kDone);
  EXPECT_EQ(hashes(), continued);
}

TEST_F(Clean, PartsOfOtherInputsAreNotTakenOver) {
  use("a.tar", tar_of(0, 6).finished());
  run_download();
  run_clean();
  const auto whole = hashes();
  for (const char* name : {"manifest.jsonl", "manifest.1.jsonl", "records/a.json"})
    fs::remove(entry_.samples_folder() / name);
  write(
      "data/samples/t/records/a-00000.part.json",
      R"({"inputs":{"a.tar":"another"},"next":4,"kept":4,"skipped":{},"shard":{"rows":4,"bytes":1,"sha256":""}})");
  EXPECT_EQ(run_clean(), core::kDone);
  EXPECT_EQ(hashes(), whole);
}

TEST_F(Clean, ATruncatedSourceIsMendedByTheCommandThatIsPrinted) {
  const std::string good = tar_of(0, 6).finished();
  use("a.tar", good.substr(0, 4000));
  run_download();
  EXPECT_EQ(run_clean(), core::kUserMistake);
  const fs::path failed = entry_.samples_folder() / "records/a.failed.json";
  EXPECT_EQ(core::read_json(failed).at("attempts"), 2);
  EXPECT_NE(reason(entry_.samples_folder(), "a").find("truncated"), std::string::npos);
  write("a.tar", good);
  do_as_printed(reason(entry_.samples_folder(), "a"));
  ASSERT_EQ(run_download(), core::kDone);
  EXPECT_EQ(run_clean(), core::kDone);
  EXPECT_EQ(samples().records.at(0).details["kept"], 6);
  EXPECT_FALSE(fs::exists(failed));
}

TEST_F(Clean, AnArchiveThatChangedIsRefusedByName) {
  use("a.tar", tar_of(0, 6).finished());
  use("b.tar", tar_of(10, 6).finished());
  run_download();
  run_clean();
  write("a.tar", tar_of(20, 6).finished());
  fs::remove(entry_.raw_folder() / "records/a.tar.json");
  ASSERT_EQ(run_download(), core::kDone);
  std::string message;
  try {
    run_clean();
  } catch (const core::UserError& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("`a` was made from {\"a.tar\":"), std::string::npos) << message;
  do_as_printed(message);
  EXPECT_EQ(run_clean(), core::kDone);
  EXPECT_EQ(samples().generation, 2);
  EXPECT_TRUE(store::verify(entry_.samples_folder()).empty());
}

TEST_F(Clean, AnotherArchiveLeavesEveryPresentFileAlone) {
  use("a.tar", tar_of(0, 6).finished());
  use("c.tar", tar_of(20, 6).finished());
  run_download();
  run_clean();
  const auto before = times();
  use("b.tar", tar_of(10, 6).finished());
  ASSERT_EQ(run_download(), core::kDone);
  ASSERT_EQ(run_clean(), core::kDone);
  const auto after = times();
  for (const auto& [name, time] : before) {
    if (name != "manifest.jsonl") {
      EXPECT_EQ(after.at(name), time) << name;
    }
  }
  EXPECT_EQ(samples().generation, 2);
  EXPECT_EQ(samples().records.size(), 3u);
  EXPECT_EQ(store::Manifest::read(entry_.samples_folder(), 1).records.size(), 2u);
}

TEST_F(Clean, OtherSettingsNeedAnotherFolder) {
  use("a.tar", tar_of(0, 6).finished());
  run_download();
  run_clean();
  entry_.filters.min_side = 5;
  expect_error<core::UserError>([&] { run_clean(); }, {"other settings", "min_side"});
}

TEST_F(Clean, LooseFilesAreCutIntoItems) {
  entry_.archive = "none";
  entry_.splits.group = "";
  entry_.shard_records = 2;
  const auto add = [&](const char* key) {
    use(std::string(key) + ".png", png(12, 12, 7));
    use(std::string(key) + ".txt", key);
  };
  for (const char* key : {"p", "q", "s"}) add(key);
  run_download();
  ASSERT_EQ(run_clean(), core::kDone);
  const auto captions = [&](const std::string& file) {
    auto found = store::read_strings(store::ShardReader(entry_.samples_folder() / file), "caption.name");
    std::ranges::sort(found);
    return found;
  };
  EXPECT_EQ(captions("files-00000-00000.h5"), (std::vector<std::string>{"p", "q"}));
  EXPECT_EQ(captions("files-00001-00000.h5"), (std::vector<std::string>{"s"}));
  // A file that comes between them makes a new item; the others keep theirs.
  const auto before = times();
  add("r");
  ASSERT_EQ(run_download(), core::kDone);
  ASSERT_EQ(run_clean(), core::kDone);
  EXPECT_EQ(captions("files-00002-00000.h5"), (std::vector<std::string>{"r"}));
  for (const auto& [name, time] : before) {
    if (name != "manifest.jsonl") {
      EXPECT_EQ(times().at(name), time) << name;
    }
  }
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

TEST_F(Clean, ArchivesThatAreUsedUpCanGo) {
  entry_.keep_raw = false;
  use("a.tar", tar_of(0, 6).finished());
  use("b.tar", tar_of(10, 6).finished());
  run_download();
  ASSERT_EQ(run_clean(), core::kDone);
  const auto whole = hashes();
  for (const char* name : {"a.tar", "b.tar"}) EXPECT_FALSE(fs::exists(entry_.raw_folder() / name)) << name;
  ASSERT_EQ(run_download(), core::kDone);  // they are not missed
  ASSERT_EQ(run_clean(), core::kDone);
  EXPECT_FALSE(fs::exists(entry_.raw_folder() / "a.tar"));
  EXPECT_TRUE(store::verify(entry_.raw_folder()).empty());
  fs::remove(entry_.samples_folder() / "a-00000.h5");
  EXPECT_EQ(run_clean(), core::kUserMistake);
  do_as_printed(reason(entry_.samples_folder(), "a"));
  ASSERT_EQ(run_download(), core::kDone);
  ASSERT_EQ(run_clean(), core::kDone);
  EXPECT_EQ(hashes(), whole);
  EXPECT_FALSE(fs::exists(entry_.raw_folder() / "a.tar"));
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

}  // namespace
}  // namespace microdit::ingest

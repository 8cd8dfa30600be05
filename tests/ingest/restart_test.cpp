// clean again: stopped, killed, divided, damaged, grown; what is done stays done.
#include <gmock/gmock.h>

#include <algorithm>
#include <thread>

#include "clean_folder.h"

namespace microdit::ingest {
namespace {

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

// An archive may take longer than a life: what the life leaves behind counts, whole archive or not.
TEST_F(Clean, APublishedShardIsProgress) {
  std::string cut = tar_of(0, 40).finished();
  cut.resize(cut.size() * 4 / 5);
  use("a.tar", cut);
  entry_.shard_records = 4;
  run_download();
  ::setenv("MICRODIT_PROGRESS", (folder_ / "progress").c_str(), 1);
  EXPECT_EQ(run_clean(), core::kUserMistake);
  ::unsetenv("MICRODIT_PROGRESS");
  EXPECT_THAT(core::read_text(folder_ / "progress"), testing::StartsWith("a-0000"));
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

}  // namespace
}  // namespace microdit::ingest

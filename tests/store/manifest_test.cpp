// Stage folders: who writes what when, several slots at once, and what is refused.
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/hash.h"
#include "store/manifest_text.h"
#include "store/open_counter.h"
#include "store/stage_folder.h"

namespace microdit::store {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(StageFolder, CompleteFolderReadsBack) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  const Manifest manifest = Manifest::read(temporary / "a");
  EXPECT_EQ(manifest.facts, kFacts);
  ASSERT_EQ(manifest.records.size(), static_cast<std::size_t>(kItems));
  EXPECT_EQ(manifest.records[3].item, "item-3");
  EXPECT_EQ(manifest.records[3].details["skipped"], 3);
  EXPECT_EQ(manifest.shards()[5].file, "item-5-00000.h5");
  EXPECT_EQ(manifest.shards()[5].rows, 2);
  EXPECT_EQ(manifest.generation, 1);
  EXPECT_EQ(manifest.records[3].details["inputs"], expected(3).inputs);
  EXPECT_THAT(core::read_text(temporary / "a" / "manifest.jsonl"), HasSubstr(manifest.sha256));
  EXPECT_EQ(report(temporary / "a"), "");
}

// One slot's whole work; the next test starts it in processes of its own.
TEST(StageFolder, OneSlot) {
  const TemporaryFolder temporary;
  const char* folder = std::getenv("MICRODIT_TEST_FOLDER");
  const char* slot = std::getenv("MICRODIT_TEST_SLOT");
  const int slots = slot ? 3 : 1;
  StageFolder stage(folder ? std::filesystem::path(folder) : temporary / "a", kFacts);
  for (int item = slot ? std::atoi(slot) : 0; item < kItems; item += slots)
    stage.commit(expected(item), make_item(stage, item));
  EXPECT_EQ(close_when_done(stage, all_items()) || slots > 1, true);
}

TEST(StageFolder, SeveralProcessesMakeTheSameFolder) {
  const TemporaryFolder temporary;
  complete(temporary / "alone");
  std::vector<pid_t> children;
  for (int slot = 0; slot < 3; ++slot) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    ::setenv("MICRODIT_TEST_FOLDER", (temporary / "together").c_str(), 1);
    ::setenv("MICRODIT_TEST_SLOT", std::to_string(slot).c_str(), 1);
    ::execl("/proc/self/exe", "test_store", "--gtest_filter=StageFolder.OneSlot", "--gtest_brief=1", nullptr);
    ::_exit(1);
  }
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  // The slot that came last has seen all records.
  EXPECT_TRUE(std::filesystem::exists(temporary / "together" / "manifest.jsonl"));
  EXPECT_TRUE(contents_of(temporary / "together") == contents_of(temporary / "alone"));
}

TEST(StageFolder, UnfinishedFolderSaysHowFarItIs) {
  const TemporaryFolder temporary;
  StageFolder stage(temporary / "a", kFacts);
  EXPECT_FALSE(stage.done("item-0"));
  for (const int item : {0, 4}) stage.commit(expected(item), make_item(stage, item));
  EXPECT_TRUE(stage.done("item-4"));
  EXPECT_FALSE(stage.done("item-1"));
  EXPECT_FALSE(close_when_done(stage, all_items()));
  EXPECT_THAT(message_of<core::UserError>([&] { Manifest::read(temporary / "a"); }),
              HasSubstr("2 items are done; "));
  stage.fail({"item-2", "404", 7, 1, false});
  EXPECT_THAT(message_of<core::UserError>([&] { Manifest::read(temporary / "a"); }),
              HasSubstr("1 failed (records/item-2.failed.json says why)"));
  EXPECT_THAT(message_of<core::UserError>([&] { Manifest::read(temporary / "b"); }),
              HasSubstr("no such folder"));
  EXPECT_EQ(report(temporary / "a"), "");
  const Record unfinished = make_item(stage, 5);  // published, not yet recorded: no damage
  EXPECT_EQ(report(temporary / "a"), "");
}

TEST(StageFolder, LostOrCutShardIsMadeAgain) {
  const TemporaryFolder temporary;
  StageFolder stage(temporary / "a", kFacts);
  for (const int item : {0, 1, 2}) stage.commit(expected(item), make_item(stage, item));
  std::filesystem::remove(temporary / "a" / "item-0-00000.h5");
  std::filesystem::resize_file(temporary / "a" / "item-1-00000.h5", 100);
  std::ofstream(temporary / "a" / "records" / "item-2.json") << "{\"item\": ";
  for (const std::string item : {"item-0", "item-1", "item-2"}) EXPECT_FALSE(stage.done(item)) << item;
  // All are recorded, and still the folder is not complete: shards count, not records.
  EXPECT_EQ(stage.survey(all_items(3), kGoOn)->pending.size(), 3u);
  EXPECT_THAT(report(temporary / "a"),
              AllOf(HasSubstr("item-0-00000.h5: missing"), HasSubstr("item-1-00000.h5: has 100"),
                    HasSubstr("records/item-2.json")));
}

TEST(StageFolder, OtherSettingsAreNamed) {
  const TemporaryFolder temporary;
  StageFolder stage(temporary / "a", kFacts);
  core::Json other = kFacts;
  other["codec"]["sha256"] = "cd";
  EXPECT_THAT(message_of<core::UserError>([&] { StageFolder(temporary / "a", other); }),
              AllOf(HasSubstr("made with other settings"),
                    HasSubstr("`codec.sha256` is \"ab\" there and \"cd\" now"), HasSubstr("another folder")));
  other = kFacts;
  other["extra"] = 1;
  EXPECT_THAT(message_of<core::UserError>([&] { StageFolder(temporary / "a", other); }),
              HasSubstr("`extra` is absent there"));
  EXPECT_NO_THROW(StageFolder(temporary / "a", kFacts));
  // Somebody else's facts win a race: the loser stops at its first commit.
  core::write_json(temporary / "a" / "facts.json", other);
  EXPECT_THROW(stage.commit({"item-0", {}, core::Json::object()}), core::UserError);
}

TEST(StageFolder, WhatMustBeThereWithAManifestIsMadeBeforeIt) {
  const TemporaryFolder temporary;
  StageFolder stage(temporary / "a", kFacts);
  for (int item = 0; item < kItems; ++item) stage.commit(expected(item), make_item(stage, item));
  int calls = 0;
  const auto before_visible = [&](const Manifest& manifest) {
    ++calls;
    EXPECT_EQ(manifest.generation, 1);
    EXPECT_EQ(manifest.records.size(), static_cast<std::size_t>(kItems));
    EXPECT_FALSE(std::filesystem::exists(temporary / "a" / "manifest.1.jsonl"));
    return calls > 1;  // the first time it is stopped
  };
  const Standing standing = *stage.survey(all_items(), kGoOn);
  EXPECT_FALSE(stage.close(standing, before_visible).has_value());
  EXPECT_FALSE(std::filesystem::exists(temporary / "a" / "manifest.jsonl"));
  EXPECT_EQ(stage.close(standing, before_visible), 1);
  EXPECT_EQ(stage.close(standing, before_visible), 1);
  EXPECT_EQ(calls, 2);
}

TEST(StageFolder, NoRecordIsOpenedWhileAnItemHasNone) {
  const TemporaryFolder temporary;
  StageFolder stage(temporary / "a", kFacts);
  for (int item = 0; item + 2 < kItems; ++item) stage.commit(expected(item), make_item(stage, item));
  stage.fail({"item-4", "404", 7, 1, false});
  const OpenCounter counter(temporary / "a" / "records");
  int seen = 0;
  const auto standing = stage.survey(all_items(), kGoOn, [&](const Record&) { ++seen; });
  EXPECT_EQ(standing->pending, std::vector<std::string>{"item-5"});
  ASSERT_EQ(standing->failed.size(), 1u);
  EXPECT_EQ(counter.opened(), std::multiset<std::string>{"item-4.failed.json"});
  EXPECT_EQ(seen, 0);
  EXPECT_THROW(stage.close(*standing), std::logic_error);
  stage.commit(expected(5), make_item(stage, 5));
  counter.opened();
  EXPECT_EQ(stage.survey(all_items(), kGoOn, [&](const Record&) { ++seen; })->done, 5);
  EXPECT_EQ(seen, 5);
  const auto opened = counter.opened();  // each once
  for (const int item : {0, 1, 2, 3, 5}) EXPECT_EQ(opened.count(item_name(item) + ".json"), 1u) << item;
}

TEST(StageFolder, NotesStayInTheRecords) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  StageFolder stage(temporary / "b", kFacts);
  for (int item = 0; item < kItems; ++item) {
    Record record = make_item(stage, item);
    record.notes = R"({"count": 3,"x":[1,2]})";
    stage.commit(expected(item), record);
  }
  ASSERT_TRUE(close_when_done(stage, all_items()));
  EXPECT_EQ(core::read_text(temporary / "b" / "manifest.jsonl"),
            core::read_text(temporary / "a" / "manifest.jsonl"));
  EXPECT_EQ(stage.find(expected(3))->notes, R"({"count":3,"x":[1,2]})");
  EXPECT_EQ(stage.survey(all_items(), kGoOn)->notes.size(), static_cast<std::size_t>(kItems));
  EXPECT_EQ(report(temporary / "b"), "");
  const std::filesystem::path file = temporary / "b" / "records" / "item-3.json";
  std::string text = core::read_text(file);
  text.replace(text.find("\"count\":3"), 9, "\"count\":4");
  std::ofstream(file) << text;
  EXPECT_FALSE(stage.find(expected(3)).has_value());
  EXPECT_THAT(report(temporary / "b"), HasSubstr("records/item-3.json: differs"));
}

TEST(StageFolder, AStopIsSeenWhileLookingAtTheItems) {
  const TemporaryFolder temporary;
  const StageFolder stage(temporary / "a", kFacts);
  core::StopFlag stop;
  stop.request();
  EXPECT_FALSE(stage.survey(all_items(), stop).has_value());
}

TEST(StageFolder, AnOlderFormatGetsOneMessage) {
  const TemporaryFolder temporary;
  const std::filesystem::path folder = temporary / "samples" / "cats";
  std::filesystem::create_directories(folder / "records");
  std::ofstream(folder / "facts.json") << R"({"stage": "samples", "format": 1})";
  const std::string message = "cats: written by an older microdit (format 1); remove it and run clean again";
  EXPECT_THAT(message_of<core::UserError>([&] { StageFolder(folder, kFacts); }), HasSubstr(message));
  EXPECT_THAT(message_of<core::UserError>([&] { Manifest::read(folder); }), HasSubstr(message));
  std::ofstream(folder / "facts.json") << R"({"stage": "raw"})";  // raw folders had no format then
  EXPECT_THAT(message_of<core::UserError>([&] { Manifest::read(folder); }), HasSubstr(message));
}

TEST(StageFolder, NamesThatLeaveTheFolderAreRefused) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  const std::string good = core::read_text(temporary / "a" / "records" / "item-0.json");
  for (const std::string name : {"../x.h5", "/etc/x.h5", ".x.h5", "a/b.h5", ""}) {
    std::string text = good;
    text.replace(text.find("item-0-00000.h5"), 15, name);
    EXPECT_THAT(message_of<core::UserError>([&] { record_from_text(text, "records/item-0.json"); }),
                AllOf(HasSubstr("records/item-0.json"), HasSubstr("'" + name + "' is no plain name")));
    const std::string lines = "{\"facts\":{}}\n" + text;
    const std::string manifest =
        lines + core::Json{{"sha256", core::sha256(std::as_bytes(std::span(lines)))}}.dump() + "\n";
    EXPECT_THAT(message_of<core::UserError>([&] { parse_manifest(manifest, "m"); }),
                HasSubstr("is no plain name"));
  }
  EXPECT_NO_THROW(record_from_text(good, "control"));
}

TEST(StageFolder, ShardsThatWereRemovedOnPurposeAreNotMissed) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  remove_shards(temporary / "a", "item-2");
  remove_shards(temporary / "a", "item-2");
  EXPECT_FALSE(std::filesystem::exists(temporary / "a" / "item-2-00000.h5"));
  StageFolder stage(temporary / "a", kFacts);
  EXPECT_TRUE(stage.done("item-2"));
  EXPECT_EQ(report(temporary / "a"), "");
  EXPECT_EQ(removed_on_purpose(temporary / "a", "item-1"), "");
  std::filesystem::remove(removed_on_purpose(temporary / "a", "item-2"));  // wanted back
  EXPECT_FALSE(stage.done("item-2"));
  EXPECT_THAT(report(temporary / "a"), HasSubstr("item-2-00000.h5: missing"));
}

TEST(StageFolder, AnItemIsNeverMistakenForAFailure) {
  const TemporaryFolder temporary;
  const StageFolder stage(temporary / "a", kFacts);
  EXPECT_THROW(stage.done("x.failed"), core::UserError);
  EXPECT_THROW(stage.done("x-00001.part"), core::UserError);
}

}  // namespace
}  // namespace microdit::store

// Stage folders: who writes what when, several slots at once, and damage.
#include "store/manifest.h"

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cstring>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "store/manifest_text.h"
#include "store/sample_hash.h"
#include "store/shard.h"
#include "store/temporary_folder.h"

namespace microdit::store {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const core::Json kFacts = {
    {"stage", "samples"}, {"codec", {{"kind", "vae"}, {"sha256", "ab"}}}, {"std", 0.1}, {"format", kFormat}};
constexpr int kItems = 6;
const core::StopFlag kGoOn;

std::string item_name(int item) {
  return "item-" + std::to_string(item);
}

// Two samples: 100 fixed bytes, a key, and one more column that belongs to no sample.
Record make_item(const StageFolder& stage, int item) {
  ShardContents contents;
  Column fixed{"pixels", core::DType::u8, {2, 100}, std::vector<std::byte>(200, std::byte(item))};
  Column other{"other", core::DType::u8, {300}, std::vector<std::byte>(300, std::byte{1})};
  contents.columns = {fixed, other};
  const std::vector<std::string> keys = {"key" + std::to_string(2 * item),
                                         "key" + std::to_string(2 * item + 1)};
  add_strings(contents, "key", keys);
  const SampleLayout layout{{"pixels"}, {"key"}, "", "", {}};
  contents.attributes = {{"layout", to_json(layout)}};
  contents.sample_hashes = hash_samples(contents, layout);
  const std::string file = item_name(item) + "-00000.h5";
  const std::string sha256 = write_shard(stage.path() / file, contents);
  return {item_name(item),
          {{file, 2, std::filesystem::file_size(stage.path() / file), sha256}},
          {{"skipped", item}}};
}

Item expected(int item, const char* source = "v1") {
  return {item_name(item), {{"source", source}}};
}

std::vector<Item> all_items(int count = kItems) {
  std::vector<Item> items;
  for (int item = 0; item < count; ++item) items.push_back(expected(item));
  return items;
}

// Closes the folder when every item of `items` is done; says whether it did.
bool close_when_done(StageFolder& stage, const std::vector<Item>& items) {
  const Standing standing = *stage.survey(items, kGoOn);
  if (!standing.pending.empty()) return false;
  stage.close(standing);
  return true;
}

void complete(const std::filesystem::path& folder) {
  StageFolder stage(folder, kFacts);
  for (int item = 0; item < kItems; ++item) stage.commit(expected(item), make_item(stage, item));
  ASSERT_TRUE(close_when_done(stage, all_items()));
}

std::map<std::string, std::filesystem::file_time_type> times_of(const std::filesystem::path& folder) {
  std::map<std::string, std::filesystem::file_time_type> times;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      times[std::filesystem::relative(entry.path(), folder).string()] = entry.last_write_time();
  return times;
}

std::map<std::string, std::string> contents_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      files[std::filesystem::relative(entry.path(), folder).string()] = core::read_text(entry.path());
  return files;
}

std::string report(const std::filesystem::path& folder) {
  std::string text;
  for (const Damage& damage : verify(folder)) text += damage.file + ": " + damage.what + "\n";
  return text;
}

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

TEST(StageFolder, OtherInputsOfAnItemAreRefusedByName) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  StageFolder stage(temporary / "a", kFacts);
  const Item changed = expected(3, "v2");
  EXPECT_THAT(message_of<core::UserError>([&] { stage.find(changed); }),
              AllOf(HasSubstr("`item-3` was made from {\"source\":\"v1\"}"), HasSubstr("{\"source\":\"v2\"}"),
                    HasSubstr("rm " + (temporary / "a" / "records" / "item-3.json").string())));
  std::vector<Item> items = all_items();
  items[3] = changed;
  EXPECT_EQ(stage.survey(items, kGoOn)->refused.size(), 1u);
  // As the message says: without its record the item is simply not done.
  std::filesystem::remove(temporary / "a" / "records" / "item-3.json");
  EXPECT_FALSE(stage.find(changed).has_value());
  EXPECT_EQ(stage.survey(items, kGoOn)->pending, std::vector<std::string>{"item-3"});
}

TEST(StageFolder, ItemsThatNobodyNamesAreFound) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  const StageFolder stage(temporary / "a", kFacts);
  EXPECT_EQ(stage.survey(all_items(kItems - 1), kGoOn)->unknown, std::vector<std::string>{"item-5"});
}

TEST(StageFolder, AGrownDatasetIsANewGenerationAndTouchesNothing) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  const auto before = times_of(temporary / "a");
  const auto texts = contents_of(temporary / "a");
  StageFolder stage(temporary / "a", kFacts);
  EXPECT_TRUE(close_when_done(stage, all_items()));  // nothing new: nothing written
  EXPECT_EQ(times_of(temporary / "a"), before);
  stage.commit(expected(6), make_item(stage, 6));
  EXPECT_EQ(report(temporary / "a"), "");  // on its way: no damage
  EXPECT_TRUE(close_when_done(stage, all_items(7)));
  auto after = times_of(temporary / "a");
  for (const auto& [name, time] : before)
    if (name != "manifest.jsonl") {
      EXPECT_EQ(after.at(name), time) << name;
    }
  EXPECT_EQ(Manifest::read(temporary / "a").generation, 2);
  EXPECT_EQ(Manifest::read(temporary / "a").records.size(), 7u);
  EXPECT_EQ(Manifest::read(temporary / "a", 1).records.size(), 6u);
  EXPECT_EQ(core::read_text(temporary / "a" / "manifest.1.jsonl"), texts.at("manifest.jsonl"));
  EXPECT_EQ(core::read_text(temporary / "a" / "manifest.2.jsonl"),
            core::read_text(temporary / "a" / "manifest.jsonl"));
  EXPECT_EQ(report(temporary / "a"), "");
}

TEST(StageFolder, AKillBetweenTheTwoManifestsIsMended) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  const auto whole = contents_of(temporary / "a");
  std::filesystem::remove(temporary / "a" / "manifest.jsonl");
  StageFolder stage(temporary / "a", kFacts);
  EXPECT_TRUE(close_when_done(stage, all_items()));
  EXPECT_EQ(contents_of(temporary / "a"), whole);
}

TEST(StageFolder, FailedItemsAreNamedInTheManifestUntilTheyAreMade) {
  const TemporaryFolder temporary;
  StageFolder stage(temporary / "a", kFacts);
  for (int item = 1; item < kItems; ++item) stage.commit(expected(item), make_item(stage, item));
  stage.fail({"item-0", "the archive is truncated", 3, 1, true});
  EXPECT_EQ(stage.survey(all_items(), kGoOn)->pending.size(), 1u);  // it will be tried again
  stage.fail({"item-0", "the archive is truncated", 3, 2, false});
  EXPECT_EQ(stage.failure("item-0")->attempts, 2);
  const Standing standing = *stage.survey(all_items(), kGoOn);
  ASSERT_EQ(standing.failed.size(), 1u);
  EXPECT_EQ(stage.close(standing), 1);
  const std::map<std::string, std::string> failed = {{"item-0", "the archive is truncated"}};
  EXPECT_EQ(Manifest::read(temporary / "a").failed, failed);
  EXPECT_EQ(report(temporary / "a"), "");
  stage.commit(expected(0), make_item(stage, 0));
  EXPECT_FALSE(stage.failure("item-0").has_value());
  EXPECT_TRUE(close_when_done(stage, all_items()));
  EXPECT_EQ(Manifest::read(temporary / "a").generation, 2);
  EXPECT_TRUE(Manifest::read(temporary / "a").failed.empty());
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
  };
  const Standing standing = *stage.survey(all_items(), kGoOn);
  stage.close(standing, before_visible);
  stage.close(standing, before_visible);
  EXPECT_EQ(calls, 1);
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

TEST(Verify, PayloadFlipNamesFileAndSample) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  const std::filesystem::path file = temporary / "a" / "item-2-00000.h5";
  flip_bit(file, ShardReader(file).column("pixels").offset + 150);
  EXPECT_EQ(report(temporary / "a"), "item-2-00000.h5: sample 1 (`key5`) does not match its checksum\n");
}

TEST(Verify, OtherFlipsNameTheFile) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  const std::filesystem::path file = temporary / "a" / "item-4-00000.h5";
  const std::uint64_t offset = ShardReader(file).column("other").offset;
  flip_bit(file, offset + 7);
  EXPECT_THAT(report(temporary / "a"),
              AllOf(HasSubstr("item-4-00000.h5"), HasSubstr("outside the samples: `other`")));
  flip_bit(file, offset + 7);
  EXPECT_EQ(report(temporary / "a"), "");
  flip_bit(file, 1);  // the signature
  EXPECT_THAT(report(temporary / "a"), HasSubstr("item-4-00000.h5"));
}

// Every bit counts: each file of the folder, bytes spread over it, one flip at a time.
TEST(Verify, AnyFlippedBitOfAnyFileIsFound) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  int flips = 0;
  for (const auto& [name, text] : contents_of(temporary / "a")) {
    const bool shard = name.ends_with(".h5");
    if (shard && name[5] != '0') continue;
    for (std::size_t at = 0; at < text.size(); at += shard ? 97 : 11, ++flips) {
      flip_bit(temporary / "a" / name, at, static_cast<int>(at % 8));
      const std::vector<Damage> damage = verify(temporary / "a");
      ASSERT_FALSE(damage.empty()) << name << " byte " << at;
      ASSERT_EQ(damage[0].file, name) << "byte " << at;
      flip_bit(temporary / "a" / name, at, static_cast<int>(at % 8));
    }
  }
  EXPECT_GT(flips, 100);
  EXPECT_EQ(report(temporary / "a"), "");
}

TEST(Verify, MissingAndExtraFiles) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  std::filesystem::rename(temporary / "a" / "item-1-00000.h5", temporary / "a" / "stray.h5");
  std::ofstream(temporary / "a" / "records" / "item-9.json") << "{}";
  EXPECT_THAT(report(temporary / "a"),
              AllOf(HasSubstr("item-1-00000.h5: missing"), HasSubstr("stray.h5: not in manifest.jsonl"),
                    HasSubstr("records/item-9.json: not a record")));
  EXPECT_THROW(verify(temporary / "nowhere"), core::UserError);
  std::filesystem::create_directory(temporary / "empty");
  EXPECT_THROW(verify(temporary / "empty"), core::UserError);
}

}  // namespace
}  // namespace microdit::store

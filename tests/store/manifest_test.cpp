// Stage folders: who writes what when, several slots at once, and damage.
#include "store/manifest.h"

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cstring>

#include "core/atomic_file.h"
#include "core/error.h"
#include "store/sample_hash.h"
#include "store/shard.h"
#include "store/temporary_folder.h"

namespace microdit::store {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const core::Json kFacts = {
    {"stage", "samples"}, {"codec", {{"kind", "vae"}, {"sha256", "ab"}}}, {"std", 0.1}};
constexpr int kItems = 6;

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

void complete(const std::filesystem::path& folder) {
  StageFolder stage(folder, kFacts, kItems);
  for (int item = 0; item < kItems; ++item) stage.commit(make_item(stage, item));
  ASSERT_TRUE(stage.finish_if_complete());
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
  EXPECT_EQ(report(temporary / "a"), "");
}

// One slot's whole work; the next test starts it in processes of its own.
TEST(StageFolder, OneSlot) {
  const TemporaryFolder temporary;
  const char* folder = std::getenv("MICRODIT_TEST_FOLDER");
  const char* slot = std::getenv("MICRODIT_TEST_SLOT");
  const int slots = slot ? 3 : 1;
  StageFolder stage(folder ? std::filesystem::path(folder) : temporary / "a", kFacts, kItems);
  for (int item = slot ? std::atoi(slot) : 0; item < kItems; item += slots)
    stage.commit(make_item(stage, item));
  EXPECT_EQ(stage.finish_if_complete() || slots > 1, true);
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

TEST(StageFolder, IncompleteFolderSaysHowFarItIs) {
  const TemporaryFolder temporary;
  StageFolder stage(temporary / "a", kFacts, kItems);
  EXPECT_FALSE(stage.done("item-0"));
  for (const int item : {0, 4}) stage.commit(make_item(stage, item));
  EXPECT_TRUE(stage.done("item-4"));
  EXPECT_FALSE(stage.done("item-1"));
  EXPECT_FALSE(stage.finish_if_complete());
  EXPECT_THAT(message_of<core::UserError>([&] { Manifest::read(temporary / "a"); }),
              HasSubstr("2 of 6 items"));
  EXPECT_THAT(message_of<core::UserError>([&] { Manifest::read(temporary / "b"); }),
              HasSubstr("no such folder"));
  EXPECT_EQ(report(temporary / "a"), "");
  const Record unfinished = make_item(stage, 5);  // published, not yet recorded: no damage
  EXPECT_EQ(report(temporary / "a"), "");
}

TEST(StageFolder, LostOrCutShardIsMadeAgain) {
  const TemporaryFolder temporary;
  StageFolder stage(temporary / "a", kFacts, kItems);
  for (const int item : {0, 1, 2}) stage.commit(make_item(stage, item));
  std::filesystem::remove(temporary / "a" / "item-0-00000.h5");
  std::filesystem::resize_file(temporary / "a" / "item-1-00000.h5", 100);
  std::ofstream(temporary / "a" / "records" / "item-2.json") << "{\"item\": ";
  for (const std::string item : {"item-0", "item-1", "item-2"}) EXPECT_FALSE(stage.done(item)) << item;
  EXPECT_THAT(report(temporary / "a"),
              AllOf(HasSubstr("item-0-00000.h5: missing"), HasSubstr("item-1-00000.h5: has 100"),
                    HasSubstr("records/item-2.json")));
}

TEST(StageFolder, OtherSettingsAreNamed) {
  const TemporaryFolder temporary;
  StageFolder stage(temporary / "a", kFacts, kItems);
  core::Json other = kFacts;
  other["codec"]["sha256"] = "cd";
  EXPECT_THAT(message_of<core::UserError>([&] { StageFolder(temporary / "a", other, kItems); }),
              AllOf(HasSubstr("made with other settings"),
                    HasSubstr("`codec.sha256` is \"ab\" there and \"cd\" now"), HasSubstr("another folder")));
  other = kFacts;
  other["extra"] = 1;
  EXPECT_THAT(message_of<core::UserError>([&] { StageFolder(temporary / "a", other, kItems); }),
              HasSubstr("`extra` is absent there"));
  EXPECT_NO_THROW(StageFolder(temporary / "a", kFacts, kItems));
  // Somebody else's facts win a race: the loser stops at its first commit.
  core::write_json(temporary / "a" / "facts.json", other);
  EXPECT_THROW(stage.commit({"item-0", {}, core::Json::object()}), core::UserError);
}

TEST(StageFolder, MoreRecordsThanItemsIsAnError) {
  const TemporaryFolder temporary;
  complete(temporary / "a");
  StageFolder fewer(temporary / "a", kFacts, kItems - 1);
  EXPECT_THROW(fewer.finish_if_complete(), core::UserError);
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
                    HasSubstr("records/item-9.json: not in manifest.jsonl")));
  EXPECT_THROW(verify(temporary / "nowhere"), core::UserError);
  std::filesystem::create_directory(temporary / "empty");
  EXPECT_THROW(verify(temporary / "empty"), core::UserError);
}

}  // namespace
}  // namespace microdit::store

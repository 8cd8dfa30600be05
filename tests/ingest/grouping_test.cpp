// Members -> records: keys, stems, dots, limits; alone and through clean.
#include <fmt/format.h>

#include <algorithm>

#include "clean_folder.h"
#include "raw_records.h"

namespace microdit::ingest {
namespace {

TEST(RecordGrouper, StemEndsAtTheFirstDotOfTheLastComponent) {
  const auto records = group({member("d.x/1.seg.JPG"), member("d.x/1.txt"), member("d.x/2.txt"),
                              member("LICENSE"), member("3.txt")});
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].key, "d.x/1");
  EXPECT_TRUE(records[0].members.contains("seg.jpg"));
  EXPECT_EQ(records[0].members.size(), 2u);
  EXPECT_EQ(records[2].key, "3");
}

std::vector<std::string> keys_of(const std::vector<RawRecord>& records) {
  std::vector<std::string> keys;
  for (const RawRecord& record : records) keys.push_back(record.key);
  return keys;
}

TEST(RecordGrouper, DotsOfAStemBelongToTheKeyWhereNoMemberIsNamedLikeIt) {
  const auto records =
      group({member("photo.000.jpg"), member("photo.000.txt"), member("001.jpg"), member("001.txt"),
             member("photo.002.jpg"), member("photo.002.json"), member("photo.003.seg.JPG")});
  EXPECT_EQ(keys_of(records), (std::vector<std::string>{"photo.000", "001", "photo.002", "photo.003"}));
  EXPECT_EQ(records[0].members.size(), 2u);
  EXPECT_EQ(records[2].members.size(), 2u);
  EXPECT_TRUE(records[3].members.contains("seg.jpg"));
}

TEST(RecordGrouper, AStemMayBeSharedByManyRecords) {
  std::vector<Member> members;
  for (int i = 0; i < 100; ++i)
    for (const char* extension : {"jpg", "txt"})
      members.push_back(member(fmt::format("v1.2_{:03}.{}", i, extension)));
  const auto records = group(std::move(members));
  ASSERT_EQ(records.size(), 100u);
  for (const RawRecord& record : records) EXPECT_EQ(record.members.size(), 2u);
  EXPECT_EQ(records[99].key, "v1.2_099");
}

/// "KEY" of a record without a skip, "KEY REASON" of another.
std::vector<std::string> said_of(const std::vector<RawRecord>& records) {
  std::vector<std::string> said;
  for (const RawRecord& record : records)
    said.push_back(record.key + (record.skip.empty() ? "" : " " + record.skip));
  return said;
}

TEST(RecordGrouper, AFieldOfARecordIsLeftOutByReasonAndTheRecordStaysWhole) {
  std::vector<RawRecord> records;
  RecordGrouper grouper(kEndings, [&](RawRecord&& record) { records.push_back(std::move(record)); });
  for (const char* name : {"1.cls.txt", "1.jpg", "1.mask.png", "1.txt", "1.npy", "._1.jpg", "2.jpg"})
    grouper.add(member(name));
  grouper.finish();
  EXPECT_EQ(said_of(records),
            (std::vector<std::string>{"1", "1.cls filtered.dotted_key", "1.mask filtered.dotted_key", "2"}));
  EXPECT_EQ(records[0].members.size(), 2u);
  EXPECT_EQ(grouper.passed_over().count, 1);
  EXPECT_EQ(grouper.passed_over().example, "1.npy");
}

TEST(RecordGrouper, AStemMayHaveAnyNumberOfHalves) {
  const int count = limits::kStemHalves + 10;
  int found = 0;
  RecordGrouper grouper(kEndings, [&](RawRecord&&) { ++found; });
  for (int i = 0; i < count; ++i) grouper.add(member(fmt::format("1.{:06}.jpg", i)));
  EXPECT_GE(found, limits::kStemHalves) << "held";
  grouper.finish();
  EXPECT_EQ(found, count);
}

TEST(RecordGrouper, DottedRecordsAreKeptBesideAMemberNamedLikeTheirStemHoweverManyThereAre) {
  for (const int count : {1, 7, 8, 100}) {
    for (const bool first : {false, true}) {
      std::vector<Member> members;
      if (first) members.push_back(member("photo.txt"));
      for (int i = 0; i < count; ++i)
        for (const char* extension : {"jpg", "txt"})
          members.push_back(member(fmt::format("photo.{:03}.{}", i, extension)));
      if (!first) members.push_back(member("photo.txt"));
      const auto records = group(std::move(members));
      ASSERT_EQ(std::ssize(records), count + 1) << count;
      std::int64_t whole = 0;
      for (const RawRecord& record : records)
        whole += record.skip.empty() && record.members.contains("jpg") && record.members.contains("txt");
      EXPECT_EQ(whole, count);
    }
  }
}

TEST(RecordGrouper, HalvesOfADottedRecordAreDamage) {
  EXPECT_EQ(said_of(group({member("a.1.jpg"), member("a.2.txt"), member("a.3.jpg"), member("a.3.txt")})),
            (std::vector<std::string>{"a.3", "a.1 damaged.no_caption", "a.2 damaged.no_image"}));
  // Apart from each other, beside a record of the stem's name.
  EXPECT_EQ(said_of(group({member("a.1.jpg"), member("a.2.jpg"), member("a.jpg"), member("a.1.txt"),
                           member("a.2.txt"), member("a.txt")})),
            (std::vector<std::string>{"a", "a.1 damaged.no_caption", "a.2 damaged.no_caption",
                                      "a.1 damaged.no_image", "a.2 damaged.no_image"}));
}

TEST(RecordGrouper, ARepeatedExtensionBeginsANewRecord) {
  const auto records = group({member("1.jpg"), member("1.txt"), member("1.jpg"), member("1.txt")});
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].key, "1");
}

TEST(RecordGrouper, HiddenFilesAndUnwantedOnesBelongToNoRecord) {
  const auto records = group(
      {member("1.jpg"), member("._1.jpg"), member("d/.DS_Store.txt"), member("1.npy"), member("1.txt")});
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].members.size(), 2u);
}

TEST(RecordGrouper, ARecordIsBounded) {
  std::vector<std::string> many;
  for (int i = 0; i < 1000; ++i) many.push_back(std::to_string(i) + ".jpg");
  std::vector<RawRecord> records;
  RecordGrouper grouper({many, {"txt"}, many},
                        [&](RawRecord&& record) { records.push_back(std::move(record)); });
  for (const std::string& extension : many) grouper.add(member("x." + extension));
  grouper.finish();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].skip, "unsupported.many_members");
  const std::string half(60 << 20, 'x');
  records = group({member("1.jpg", half), member("1.png", half), member("2.jpg")});
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].skip, "unsupported.oversize");
  EXPECT_TRUE(records[0].members.at("jpg").bytes.empty());
  EXPECT_EQ(records[1].skip, "");
}

TEST_F(Clean, DottedStemsAreKeptAndWhatIsPassedOverIsSaid) {
  entry_.splits.group = "";
  entry_.captions.which = {"name"};
  TarWriter tar;
  for (const char* key : {"photo.000", "001", "photo.002"})
    tar.add(fmt::format("{}.png", key), png(20, 10, 1))
        .add(fmt::format("{}.txt", key), "t")
        .add(fmt::format("{}.npy", key), "n");
  use("a.tar", tar.finished());
  run_download();
  ::testing::internal::CaptureStderr();
  ASSERT_EQ(run_clean(), core::kDone);
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("3 of 3 records kept"), std::string::npos) << log;
  EXPECT_NE(log.find("3 members that `record` does not ask for (e.g. photo.000.npy)"), std::string::npos)
      << log;
  const store::ShardReader shard(entry_.samples_folder() / "a-00000.h5");
  auto keys = store::read_strings(shard, "key");
  std::ranges::sort(keys);
  EXPECT_EQ(keys, (std::vector<std::string>{"001", "photo.000", "photo.002"}));
  EXPECT_EQ(samples().records.at(0).details.at("passed_over").at("count"), 3);
}

TEST_F(Clean, DottedRecordsBesideTheirStemsOwnAreKeptAndFieldsAreNoDamage) {
  entry_.splits.group = "";
  entry_.captions.which = {"name"};
  TarWriter tar;
  for (const char* key : {"St. Anna", "St. Berta", "St", "p"})
    tar.add(fmt::format("{}.png", key), png(20, 10, 1)).add(fmt::format("{}.txt", key), "t");
  for (int i = 0; i < 2; ++i)
    tar.add(fmt::format("{}.png", i), png(20, 10, 1))
        .add(fmt::format("{}.seg.png", i), png(20, 10, 2))
        .add(fmt::format("{}.txt", i), "t");
  use("a.tar", tar.finished());
  run_download();
  ::testing::internal::CaptureStderr();
  ASSERT_EQ(run_clean(), core::kDone);
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("6 of 8 records kept; skipped: filtered.dotted_key 2 (e.g. 0.seg)"), std::string::npos)
      << log;
}

}  // namespace
}  // namespace microdit::ingest

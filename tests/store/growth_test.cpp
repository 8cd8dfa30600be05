// Stage folders that grow: generations, other inputs, failed items.
#include "core/error.h"
#include "store/stage_folder.h"

namespace microdit::store {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

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

}  // namespace
}  // namespace microdit::store

// What verify finds in a damaged stage folder.
#include <fstream>

#include "core/error.h"
#include "store/stage_folder.h"

namespace microdit::store {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

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

// One flipped bit anywhere, a cut or a missing file: found, named, and walked back over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/inspect.h"
#include "checkpoint/sample_checkpoints.h"
#include "checkpoint/thread_ranks.h"
#include "core/safetensors.h"

namespace microdit::checkpoint {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class Damage : public testing::Test {
 protected:
  void SetUp() override {
    for (const std::int64_t step : {10, 20, 30}) {
      on_ranks(2, [&](comm::Communicator& comm) { save(scratch_.path(), step, comm); });
    }
    newest_ = scratch_.path() / step_name(30);
  }
  Scratch scratch_;
  fs::path newest_;
};

TEST_F(Damage, AnUntouchedOneIsGood) {
  EXPECT_THAT(verify(newest_), IsEmpty());
  EXPECT_EQ(open_latest(scratch_.path())->step(), 30);
}

TEST_F(Damage, EveryFlippedBitOfEveryFileIsFound) {
  for (const std::string& name : names_in(newest_)) {
    const fs::path file = newest_ / name;
    const std::uint64_t bytes = fs::file_size(file);
    for (std::uint64_t byte = 0; byte < bytes; byte += (name == kManifestName ? 3 : 1)) {
      const int bit = static_cast<int>((byte * 5 + 1) % 8);
      flip_bit(file, byte, bit);
      const auto damage = verify(newest_);
      ASSERT_FALSE(damage.empty()) << name << " byte " << byte << " bit " << bit;
      ASSERT_THAT(damage.front(), StartsWith(name)) << byte;
      ASSERT_THROW(Reader{newest_}, core::UserError) << name << " byte " << byte;
      flip_bit(file, byte, bit);
    }
  }
  EXPECT_THAT(verify(newest_), IsEmpty());
}

TEST_F(Damage, NamesTheTensorThatIsHit) {
  const std::string name = "shard_00001_of_00002.safetensors";
  const core::SafetensorsFile shard(newest_ / name);
  for (const auto& [entry, info] : shard.tensors()) {
    flip_bit(newest_ / name, info.offset + info.bytes - 1, 7);
    const auto damage = verify(newest_);
    ASSERT_EQ(damage.size(), 1u);
    EXPECT_THAT(damage[0], HasSubstr(name + ": tensor " + entry.substr(0, entry.rfind('@')) + ","));
    flip_bit(newest_ / name, info.offset + info.bytes - 1, 7);
  }
}

TEST_F(Damage, StructureAloneDoesNotReadTensors) {
  const std::string name = "shard_00001_of_00002.safetensors";
  const core::SafetensorsFile shard(newest_ / name);
  flip_bit(newest_ / name, shard.tensors().begin()->second.offset, 0);
  EXPECT_NO_THROW(Reader(newest_, false));
  EXPECT_THROW(Reader(newest_, true), core::UserError);
}

TEST_F(Damage, CutAndMissingFiles) {
  const std::string name = "shard_00000_of_00002.safetensors";
  fs::resize_file(newest_ / name, fs::file_size(newest_ / name) - 1);
  EXPECT_THAT(verify(newest_), ElementsAre(HasSubstr(name + ": ")));
  EXPECT_THROW(Reader(newest_, false), core::UserError);
  fs::remove(newest_ / name);
  EXPECT_THAT(verify(newest_), ElementsAre(HasSubstr(name + ": missing")));
  fs::resize_file(newest_ / kManifestName, 100);
  EXPECT_THAT(verify(newest_), ElementsAre(HasSubstr("manifest.json")));
  fs::remove(newest_ / kManifestName);
  EXPECT_THAT(verify(newest_), ElementsAre(HasSubstr("manifest.json: missing")));
}

TEST_F(Damage, ARenamedStepIsFound) {
  fs::rename(newest_, scratch_.path() / step_name(40));
  EXPECT_THAT(verify(scratch_.path() / step_name(40)), ElementsAre(HasSubstr("step 30")));
  EXPECT_EQ(open_latest(scratch_.path())->step(), 20);
}

TEST_F(Damage, WalksBackAndSaysWhy) {
  fs::resize_file(newest_ / "shard_00000_of_00002.safetensors", 50);
  testing::internal::CaptureStderr();
  for (const int size : {1, 2}) {
    on_ranks(size, [&](comm::Communicator& comm) {
      const auto reader = open_latest(scratch_.path(), comm);
      ASSERT_TRUE(reader);
      EXPECT_EQ(reader->step(), 20);
      EXPECT_TRUE(holds(*reader, sample_tensors(20)));
    });
  }
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("step_0000030: shard_00000_of_00002.safetensors: 50 bytes"));
}

TEST_F(Damage, NoneGoodIsAnErrorOnAllRanksAndNoneAtAllIsNot) {
  for (const std::int64_t step : {10, 20, 30}) fs::remove(scratch_.path() / step_name(step) / kManifestName);
  for (const std::string& error :
       on_ranks(2, [&](comm::Communicator& comm) { open_latest(scratch_.path(), comm); })) {
    EXPECT_THAT(error, HasSubstr("none of its 3 checkpoints verifies"));
  }
  EXPECT_FALSE(open_latest(scratch_.path() / "nowhere"));
}

TEST_F(Damage, ADamagedOneOfTheSameStepIsReplacedAGoodOneKept) {
  const fs::path manifest = newest_ / kManifestName;
  const auto kept_since = fs::last_write_time(manifest);
  on_ranks(2, [&](comm::Communicator& comm) { save(scratch_.path(), 30, comm); });
  EXPECT_EQ(fs::last_write_time(manifest), kept_since);
  flip_bit(newest_ / "shard_00001_of_00002.safetensors",
           fs::file_size(newest_ / "shard_00001_of_00002.safetensors") - 2, 3);
  // Another world size, to see whose it is.
  on_ranks(1, [&](comm::Communicator& comm) { save(scratch_.path(), 30, comm); });
  EXPECT_THAT(names_in(newest_), ElementsAre("manifest.json", "shard_00000_of_00001.safetensors"));
  EXPECT_THAT(verify(newest_), IsEmpty());
  EXPECT_THAT(names_in(scratch_.path()), ElementsAre(step_name(10), step_name(20), step_name(30)));
}

}  // namespace
}  // namespace microdit::checkpoint

// MDS folders that mosaicml-streaming wrote (make_mds_fixture.py): the values are those its own reader gives; damage is named.
#include "stream/mds_source.h"

#include <gmock/gmock.h>

#include <set>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "store/temporary_folder.h"

namespace microdit::stream {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

const fs::path kFixture = fs::path(MICRODIT_SOURCE_DIR) / "tests/stream/mds";

std::string hex_of(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", std::to_integer<int>(byte));
  return text;
}

MdsConfig config_of(const fs::path& folder, std::int64_t size = 32) {
  MdsConfig config;
  config.folder = folder;
  config.size = size;
  config.text_length = 3;
  return config;
}

/// What a wish brought, and room for it.
struct Row {
  std::vector<std::byte> latents, text;
  std::string caption;
  RowWish wish;
  Row(const RowShape& shape, std::int64_t sample) : latents(shape.latents_bytes()), text(shape.text_bytes()) {
    wish.sample = sample;
    wish.latents = latents.data();
    wish.text = text.data();
    wish.caption = &caption;
  }
};

std::vector<std::unique_ptr<Row>> read(const RowSource& source, const std::vector<std::int64_t>& samples) {
  std::vector<std::unique_ptr<Row>> rows;
  std::vector<RowWish> wishes;
  for (const std::int64_t sample : samples) {
    rows.push_back(std::make_unique<Row>(source.shape(), sample));
    wishes.push_back(rows.back()->wish);
  }
  source.read(wishes);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i]->wish = wishes[i];
  return rows;
}

std::string open_error(const MdsConfig& config, const MdsOpening& opening = {}) {
  return message_of<core::UserError>([&] { open_mds(config, opening); });
}

std::string bad_of(const Row& row) {
  if (!row.wish.bad) return "";
  return message_of<core::UserError>([&] { std::rethrow_exception(row.wish.bad); });
}

/// A copy that may be changed.
fs::path copy_of(const std::string& name, const TemporaryFolder& to) {
  fs::copy(kFixture / name, to / name, fs::copy_options::recursive);
  return to / name;
}

class MdsSourceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { core::start_log(0, core::LogLevel::warn); }
  MdsOpening kept() const { return {.kept = folder / "kept"}; }
  void expect_oracle(const std::string& name) {
    const core::Json expected = core::read_json(kFixture / "expected.json").at(name);
    const auto source = open_mds(config_of(kFixture / name), kept());
    const auto large = open_mds(config_of(kFixture / name, 64), kept());
    ASSERT_EQ(source->num_samples(), static_cast<std::int64_t>(expected.size()));
    std::vector<std::int64_t> all;
    for (std::int64_t i = 0; i < source->num_samples(); ++i)
      all.push_back((i * 7 + 3) % source->num_samples());
    const auto rows = read(*source, all), larger = read(*large, all);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const core::Json& right = expected.at(static_cast<std::size_t>(all[i]));
      EXPECT_EQ(bad_of(*rows[i]), "");
      EXPECT_EQ(hex_of(rows[i]->latents), right.at("32").get<std::string>()) << i;
      EXPECT_EQ(hex_of(rows[i]->text), right.at("text").get<std::string>()) << i;
      EXPECT_EQ(rows[i]->caption, right.at("caption").get<std::string>()) << i;
      EXPECT_EQ(core::sha256(larger[i]->latents), right.at("64_sha256").get<std::string>()) << i;
    }
  }
  TemporaryFolder folder;
};

TEST_F(MdsSourceTest, ValuesAreTheLibrarysOwn) {
  expect_oracle("plain");
}

TEST_F(MdsSourceTest, ValuesAreTheLibrarysOwnFromZstd) {
  expect_oracle("zstd");
}

TEST_F(MdsSourceTest, ValuesAreTheLibrarysOwnFromArraysAmongOtherColumns) {
  expect_oracle("arrays");
}

TEST_F(MdsSourceTest, SubFoldersWithoutAMergedIndexAreReadInTheOrderOfTheirNumbers) {
  const fs::path copy = copy_of("plain", folder);
  fs::remove(copy / "index.json");
  fs::rename(copy / "1", copy / "10");
  fs::rename(copy / "0", copy / "9");
  const auto merged = open_mds(config_of(kFixture / "plain"), kept()),
             apart = open_mds(config_of(copy), kept());
  const auto a = read(*merged, {0, 21, 39}), b = read(*apart, {0, 21, 39});
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i]->latents, b[i]->latents);
  EXPECT_NE(merged->pin()["sha256"], apart->pin()["sha256"]);
}

TEST_F(MdsSourceTest, ShapeAndFactsComeFromTheFolder) {
  const auto source = open_mds(config_of(kFixture / "arrays"), kept());
  EXPECT_EQ(source->shape().channels, 4);
  EXPECT_EQ(source->shape().latent_size, 4);
  EXPECT_EQ(source->shape().text_length, 3);
  EXPECT_EQ(source->shape().text_width, 8);
  EXPECT_EQ(source->pin()["rows"], 12);
  MdsConfig config = config_of(kFixture / "plain");
  config.text_length = 0;
  EXPECT_THAT(open_error(config), HasSubstr("give data.text_encoder"));
  config.text_length = 5;
  EXPECT_THAT(open_error(config), HasSubstr("holds 24 values a sample, not 5 tokens of 4"));
  config = config_of(kFixture / "plain");
  config.latents = "latents_64";
  EXPECT_EQ(open_mds(config, {})->shape().channels, 16);  // as planes of 4 x 4
  config.channels = 4;
  EXPECT_THAT(open_error(config), HasSubstr("64 values of float16 or float32 are wanted"));
  config.latents = "pixels";
  EXPECT_THAT(open_error(config), AllOf(HasSubstr("no column `pixels`"), HasSubstr("latents_32"),
                                        HasSubstr("columns: {latents: NAME}")));
}

TEST_F(MdsSourceTest, ADroppedCaptionLeavesTheTextAlone) {
  const auto source = open_mds(config_of(kFixture / "plain"), {});
  Row row(source->shape(), 5);
  std::fill(row.text.begin(), row.text.end(), std::byte{42});
  row.wish.drop_caption = true;
  source->read({&row.wish, 1});
  EXPECT_TRUE(row.wish.no_caption);
  EXPECT_EQ(row.text, std::vector<std::byte>(row.text.size(), std::byte{42}));
  EXPECT_NE(row.latents, std::vector<std::byte>(row.latents.size()));
}

TEST_F(MdsSourceTest, AtMostTwelveBytesASampleAreKeptAndTheFolderMayBeReadOnly) {
  const fs::path copy = copy_of("arrays", folder);
  const auto before = fs::last_write_time(copy);
  open_mds(config_of(copy), kept());
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder / "kept")) bytes += entry.file_size();
  EXPECT_GT(bytes, 0u);
  EXPECT_LE(bytes, 12 * 12 + 256u);  // twelve samples, and a head
  EXPECT_EQ(fs::last_write_time(copy), before);
}

TEST_F(MdsSourceTest, ASecondLifeReadsNoShardAndUnpacksNothing) {
  const fs::path copy = copy_of("zstd", folder);
  open_mds(config_of(copy), kept());
  for (const auto& entry : fs::recursive_directory_iterator(copy))
    if (entry.path().extension() == ".zstd") fs::remove(entry.path());
  const auto again = open_mds(config_of(copy), kept());
  EXPECT_EQ(bad_of(*read(*again, {39})[0]), "");
}

TEST_F(MdsSourceTest, ADamagedTableIsMadeAgain) {
  open_mds(config_of(kFixture / "plain"), kept());
  fs::path table;
  for (const auto& entry : fs::directory_iterator(folder / "kept")) table = entry.path();
  const std::string good = core::read_text(table);
  for (std::size_t at = 0; at < good.size(); at += 13) {
    flip_bit(table, at, 0);
    open_mds(config_of(kFixture / "plain"), kept());
    EXPECT_EQ(core::read_text(table), good) << at;
  }
}

TEST_F(MdsSourceTest, EveryFlippedByteOfAHashedFolderIsFound) {
  const fs::path copy = copy_of("arrays", folder);
  const fs::path file = copy / "shard.00001.mds";
  const std::uint64_t bytes = fs::file_size(file);
  for (std::uint64_t at = 0; at < bytes; at += 31) {
    flip_bit(file, at, 0);
    EXPECT_THAT(open_error(config_of(copy)), HasSubstr("shard.00001.mds")) << at;
    flip_bit(file, at, 0);
  }
  EXPECT_NO_THROW(open_mds(config_of(copy), {}));
  flip_bit(file, bytes - 1, 0);
  EXPECT_NO_THROW(open_mds(config_of(copy), {.verify = false}));
}

TEST_F(MdsSourceTest, ARowThatChangesAfterTheCheckIsBadAndItsNeighboursAreGood) {
  const fs::path copy = copy_of("arrays", folder);
  const auto source = open_mds(config_of(copy), kept());
  const auto before = read(*source, {0, 1, 2});
  flip_bit(copy / "shard.00000.mds", 2400, 0);
  const auto rows = read(*source, {0, 1, 2, 3, 4, 5});
  int bad = 0;
  for (const auto& row : rows) bad += row->wish.bad != nullptr;
  EXPECT_EQ(bad, 1);
  EXPECT_EQ(rows[0]->latents, before[0]->latents);
  for (const auto& row : rows) {
    if (row->wish.bad) {
      EXPECT_THAT(bad_of(*row), HasSubstr("doctor verify"));
    }
  }
}

TEST_F(MdsSourceTest, ACheckThatWasEndedGoesOnWhereItWas) {
  const fs::path copy = copy_of("arrays", folder);
  MdsOpening opening = kept();
  opening.threads = 1;
  int looked = 0;
  opening.look_up = [&] {
    if (++looked == 3)
      throw core::SystemError("the time limit");  // once for the sizes, then before each file
  };
  EXPECT_THROW(open_mds(config_of(copy), opening), core::SystemError);
  fs::path journal;
  for (const auto& entry : fs::directory_iterator(folder / "kept")) journal = entry.path();
  ASSERT_EQ(journal.extension(), ".checked");
  fs::resize_file(journal, fs::file_size(journal) + 5);  // an entry that was cut off
  flip_bit(copy / "shard.00000.mds", 3000, 0);  // of the file that was checked already: it is not read again
  const auto source = open_mds(config_of(copy), kept());
  EXPECT_FALSE(fs::exists(journal));
  int bad = 0;
  for (const auto& row : read(*source, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}))
    bad += row->wish.bad != nullptr;
  EXPECT_EQ(bad, 1);
}

TEST_F(MdsSourceTest, EveryFlippedByteOfAZstdFileIsFound) {
  const fs::path copy = copy_of("zstd", folder);
  const fs::path file = copy / "1" / "shard.00001.mds.zstd";
  for (std::uint64_t at = 0; at < fs::file_size(file); at += 61) {
    flip_bit(file, at, 0);
    EXPECT_THAT(open_error(config_of(copy), kept()), HasSubstr("shard.00001.mds")) << at;
    flip_bit(file, at, 0);
    for (const auto& entry : fs::recursive_directory_iterator(folder / "kept"))
      EXPECT_THAT(entry.path().filename().string(), ::testing::Not(HasSubstr(".tmp")));
  }
}

TEST_F(MdsSourceTest, PackedFoldersNeedAPlaceToUnpack) {
  EXPECT_THAT(open_error(config_of(kFixture / "zstd")), HasSubstr("zstd -d"));
}

TEST_F(MdsSourceTest, TheTableDoesNotDependOnThreads) {
  std::set<std::string> tables;
  for (const std::int64_t threads : {1, 2, 5}) {
    MdsOpening opening;
    opening.kept = folder / std::to_string(threads);
    opening.threads = threads;
    open_mds(config_of(kFixture / "zstd"), opening);
    for (const auto& entry : fs::directory_iterator(opening.kept))
      if (entry.path().extension() == ".table") tables.insert(core::read_text(entry.path()));
  }
  EXPECT_EQ(tables.size(), 1u);
}

}  // namespace
}  // namespace microdit::stream

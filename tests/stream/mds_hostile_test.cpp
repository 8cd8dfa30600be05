// Foreign MDS folders: whatever index.json and the shards claim, the answer is one clear error and no large allocation.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <cstring>
#include <fstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "store/temporary_folder.h"
#include "stream/mds_source.h"

namespace microdit::stream {
namespace {

namespace fs = std::filesystem;
using core::Json;
using ::testing::AllOf;
using ::testing::HasSubstr;

const fs::path kPlain = fs::path(MICRODIT_SOURCE_DIR) / "tests/stream/mds/plain/0";

std::string open_error(const fs::path& folder) {
  MdsConfig config;
  config.folder = folder;
  config.size = 32;
  config.text_length = 3;
  return message_of<core::UserError>([&] { open_mds(config, {}); });
}

class MdsHostileTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { core::start_log(0, core::LogLevel::warn); }
  void SetUp() override { fs::copy(kPlain, folder / "d", fs::copy_options::recursive); }
  Json index() const { return core::read_json(folder / "d/index.json"); }
  void put(const Json& changed) const { core::write_json(folder / "d/index.json", changed); }
  /// In place: a file that is cut and written again is synced by some file systems.
  void put_byte(const std::string& file, std::size_t at, char value) const {
    std::fstream stream(folder / "d" / file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(value);
  }
  void put_u32(const std::string& file, std::size_t at, std::uint32_t value) const {
    std::fstream stream(folder / "d" / file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(at));
    stream.write(reinterpret_cast<const char*>(&value), 4);
  }
  TemporaryFolder folder;
};

struct IndexCase {
  const char* pointer;  // of the member to replace
  const char* value;
  const char* reason;
};

TEST_F(MdsHostileTest, EveryLieOfAnIndexIsNamed) {
  const std::vector<IndexCase> cases = {
      {"/version", "1", "only 2 is read"},
      {"/version", "\"2\"", "`version`"},
      {"/shards", "{}", "`shards` is not a list"},
      {"/shards", "[]", "names no sample"},
      {"/shards/0", "7", "is missing"},
      {"/shards/0/format", "\"json\"", "only `mds` is read"},
      {"/shards/0/version", "3", "`version` is not 2"},
      {"/shards/0/samples", "-1", "`samples` is -1"},
      {"/shards/0/samples", "0", "`samples` is 0"},
      {"/shards/0/samples", "4000000000", "`samples` is 4000000000"},
      {"/shards/0/samples", "1e3", "`samples` is 1000.0"},
      {"/shards/0/samples", "9", "holds 10 samples, index.json says 9"},
      {"/shards/0/raw_data/bytes", "18446744073709551615", "`bytes`"},
      {"/shards/0/raw_data/bytes", "7539", "has 7538 bytes, index.json says 7539"},
      {"/shards/0/raw_data/basename", "\"../d/shard.00000.mds\"", "leaves the folder"},
      {"/shards/0/raw_data/basename", "\"/etc/passwd\"", "leaves the folder"},
      {"/shards/0/raw_data/basename", "\"a/../../d/shard.00000.mds\"", "leaves the folder"},
      {"/shards/0/raw_data/basename", "\"\"", "is empty"},
      {"/shards/0/raw_data/basename", "\"shard\\u0000.mds\"", "control characters"},
      {"/shards/0/raw_data/basename", "\"shard.00001.mds\"", "named by two shards"},
      {"/shards/0/raw_data/basename", "\"missing.mds\"", "missing.mds"},
      {"/shards/0/raw_data/basename", "5", "not a text"},
      {"/shards/0/raw_data/hashes", "[]", "`hashes`"},
      {"/shards/0/raw_data/hashes", "{\"crc32\": \"00\"}", "hash `crc32` is not known"},
      {"/shards/0/raw_data/hashes", "{\"sha1\": \"XYZ\"}", "not lower-case hex"},
      {"/shards/0/raw_data/hashes", "{\"sha1\": \"00\"}", "its sha1 is"},
      {"/shards/0/raw_data", "null", "`basename` is missing"},
      {"/shards/0/column_names", "[\"a\"]", "lists of one length"},
      {"/shards/0/column_names", "[\"caption\", \"caption\", \"latents_32\", \"latents_64\"]", "named twice"},
      {"/shards/0/column_names", "[\"caption\", \"caption_latents\", \"latents_32\", \"x\"]",
       "other columns"},
      {"/shards/0/column_encodings", "[\"str\", \"bytes\", \"pkl\", \"bytes\"]", "pickled"},
      {"/shards/0/column_encodings", "[\"str\", \"bytes\", 1, \"bytes\"]", "not a text"},
      {"/shards/0/column_sizes", "[null, null, 0, null]", "has size 0"},
      {"/shards/0/column_sizes", "[null, null, -4, null]", "`column_sizes` is -4"},
      {"/shards/0/column_sizes", "[null, null, 4294967295, null]", "`column_sizes`"},
  };
  const Json good = index();
  for (const IndexCase& one : cases) {
    Json changed = good;
    changed[Json::json_pointer(one.pointer)] = Json::parse(one.value);
    put(changed);
    EXPECT_THAT(open_error(folder / "d"), HasSubstr(one.reason)) << one.pointer << " = " << one.value;
  }
}

TEST_F(MdsHostileTest, TextsThatAreNoIndex) {
  for (const auto& [text, reason] : std::vector<std::pair<std::string, std::string>>{
           {"", "not valid JSON"},
           {"{\"version\": 2, \"version\": 2}", "duplicate JSON key"},
           {std::string(100'000, '['), "nested deeper"},
           {"{\"version\": 2}", "`shards` is missing"},
           {"[]", "`version` is missing"},
           {"{\"version\": NaN}", "not valid JSON"}}) {
    core::atomic_write(folder / "d/index.json", text);
    EXPECT_THAT(open_error(folder / "d"), AllOf(HasSubstr("index.json"), HasSubstr(reason)));
  }
  fs::resize_file(folder / "d/index.json", MdsLimits::kIndexBytes + 1);
  EXPECT_THAT(open_error(folder / "d"), HasSubstr("more than"));
  fs::remove(folder / "d/index.json");
  EXPECT_THAT(open_error(folder / "d"), HasSubstr("not an MDS folder"));
  EXPECT_THAT(open_error(folder / "nowhere"), HasSubstr("no such folder"));
}

TEST_F(MdsHostileTest, EveryLieOfAShardIsNamed) {
  const std::string file = "shard.00000.mds";
  const std::string good = core::read_text(folder / "d" / file);
  const auto check = [&](std::size_t at, std::uint32_t value, const std::string& reason) {
    put_u32(file, at, value);
    EXPECT_THAT(open_error(folder / "d"), AllOf(HasSubstr(file), HasSubstr(reason))) << at << " " << value;
    core::atomic_write(folder / "d" / file, good);
  };
  std::uint32_t first = 0;
  std::memcpy(&first, good.data() + 4, 4);
  check(0, 0xffffffff, "holds 4294967295 samples");
  check(4, 8, "begins inside its table");
  check(4, 0xfffffff0, "sample 0 has fewer");
  check(8, 0xfffffff0, "sample 0 has more");
  check(8, first, "sample 0 has fewer");
  check(4 + 40, 0, "does not end with the file");
  check(48, 0x7b7b7b7b, "not valid JSON");            // the header's JSON
  check(first, 0xffffffff, "leaves the sample");      // size of the caption
  check(first, 0, "its columns have");                // a sample that is not used up
  check(first + 8, 0x40000000, "leaves the sample");  // of the latents
  fs::resize_file(folder / "d" / file, 100);
  EXPECT_THAT(open_error(folder / "d"), HasSubstr("has 100 bytes"));
}

TEST_F(MdsHostileTest, AnyByteOfATableAndHeaderMayChange) {
  const std::string file = "shard.00001.mds";
  const std::string good = core::read_text(folder / "d" / file);
  std::uint32_t first = 0;
  std::memcpy(&first, good.data() + 4, 4);
  MdsConfig config;
  config.folder = folder / "d";
  config.size = 32;
  config.text_length = 3;
  for (std::size_t at = 0; at < first + 16; ++at) {
    for (const char mask : {'\x01', '\x80', '\x7f'}) {
      put_byte(file, at, static_cast<char>(good[at] ^ mask));
      try {
        const auto source = open_mds(config, {});
        std::vector<std::byte> latents(source->shape().latents_bytes()), text(source->shape().text_bytes());
        for (std::int64_t sample = 10; sample < source->num_samples(); ++sample) {
          RowWish wish;
          wish.sample = sample;
          wish.latents = latents.data();
          wish.text = text.data();
          source->read({&wish, 1});
        }
      } catch (const core::UserError& error) {
        EXPECT_THAT(error.what(), HasSubstr("d/")) << at;
      }
      put_byte(file, at, good[at]);
    }
  }
}

TEST_F(MdsHostileTest, PickleIsRefused) {
  EXPECT_THAT(open_error(kPlain / "../../pickled"),
              AllOf(HasSubstr("`extra`"), HasSubstr("pkl"), HasSubstr("would run code")));
}

TEST_F(MdsHostileTest, OtherCompressionIsRefusedUnlessUnpacked) {
  Json changed = index();
  changed["shards"][0]["compression"] = "gz";
  changed["shards"][0]["zip_data"] = {
      {"basename", "shard.00000.mds.gz"}, {"bytes", 5}, {"hashes", Json::object()}};
  put(changed);
  MdsConfig config;
  config.folder = folder / "d";
  config.size = 32;
  config.text_length = 3;
  EXPECT_EQ(open_mds(config, {})->num_samples(), 20);
  fs::remove(folder / "d/shard.00000.mds");
  EXPECT_THAT(open_error(folder / "d"), AllOf(HasSubstr("compressed with `gz`"), HasSubstr("only zstd")));
}

TEST_F(MdsHostileTest, AZstdFileUnpacksToWhatIsStatedAndNoMore) {
  fs::copy(kPlain / "../../zstd/0", folder / "z", fs::copy_options::recursive);
  const Json good = core::read_json(folder / "z/index.json");
  MdsConfig config;
  config.folder = folder / "z";
  config.size = 32;
  config.text_length = 3;
  MdsOpening opening;
  opening.kept = folder / "kept";
  opening.verify = false;
  for (const auto& [pointer, value, reason] : std::vector<std::tuple<const char*, std::int64_t, const char*>>{
           {"/shards/1/raw_data/bytes", 100, "unpacks to more than the stated 100 bytes"},
           {"/shards/1/raw_data/bytes", 100'000, "unpacks to"},
           {"/shards/1/zip_data/bytes", 100, "index.json says 100"}}) {
    Json changed = good;
    changed[Json::json_pointer(pointer)] = value;
    changed["shards"][1]["samples"] = 10;
    core::write_json(folder / "z/index.json", changed);
    EXPECT_THAT(message_of<core::UserError>([&] { open_mds(config, opening); }), HasSubstr(reason));
    for (const auto& entry : fs::recursive_directory_iterator(folder / "kept"))
      EXPECT_NE(entry.path().filename(), "shard.00001.mds");
  }
}

TEST_F(MdsHostileTest, MemoryStaysSmall) {
  rusage usage{};
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &usage), 0);
  const long before = usage.ru_maxrss;
  Json changed = index();
  changed["shards"][0]["raw_data"]["bytes"] = 4'000'000'000u;
  changed["shards"][0]["samples"] = 900'000'000;
  put(changed);
  open_error(folder / "d");
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &usage), 0);
  EXPECT_LT(usage.ru_maxrss - before, 256 * 1024);
}

}  // namespace
}  // namespace microdit::stream

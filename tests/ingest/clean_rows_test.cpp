// Samples that say where their pictures lie, in an item of very many files.
#include "ingest/clean_rows.h"

#include "clean_folder.h"
#include "raw_records.h"
#include "store/byte_rows.h"
#include "store/shard_writer.h"

namespace microdit::ingest {
namespace {

class Places : public Clean {
 protected:
  void SetUp() override {
    Clean::SetUp();
    entry_.images = "reference";
    fs::create_directories(entry_.samples_folder());
    for (const auto& [name, text] : kFiles) write("data/raw/t/" + name, text);
  }
  static std::string text_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  const std::map<std::string, std::string> kFiles = {{"f3.png", "three"}, {"f65539.png", "many"}};
};

TEST_F(Places, FileNumbersOfMoreThan16Bits) {
  std::vector<std::string> files;
  for (int i = 0; i < 70'000; ++i) files.push_back(fmt::format("f{}.png", i));
  CleanRows rows(entry_, files);
  for (const std::uint32_t file : {3U, 65'539U}) {
    KeptRecord one;
    one.record.key = files[file];
    one.record.image = bytes_of(kFiles.at(files[file]));
    one.record.image_offset = 0;
    one.record.image_file = file;
    one.record.captions = {"", ""};
    rows.add(std::move(one));
  }
  const fs::path path = entry_.samples_folder() / "files-00000-00000.h5";
  ASSERT_TRUE(rows.write(path, core::Json::object(), stop_));
  const store::ShardReader shard(path);
  const store::ByteRows pictures(shard, "image");
  const auto keys = store::read_strings(shard, "key");
  ASSERT_EQ(keys.size(), 2u);
  for (std::size_t row = 0; row < keys.size(); ++row)
    EXPECT_EQ(text_of(pictures.read(static_cast<std::int64_t>(row))), kFiles.at(keys[row]));
}

TEST_F(Places, ThoseOf16BitsAreStillRead) {
  using core::DType;
  store::ShardContents contents;
  contents.columns = {store::make_column("image_file", DType::u16, std::vector<std::uint16_t>{1}),
                      store::make_column("image_offset", DType::u64, std::vector<std::uint64_t>{2}),
                      store::make_column("image_length", DType::u64, std::vector<std::uint64_t>{3}),
                      store::make_column("image_xxh3", DType::u64,
                                         std::vector<std::uint64_t>{core::xxh3_64(bytes_of("ree"))})};
  contents.attributes = {{"image_folder", "../../raw/t"}, {"image_files", {"f65539.png", "f3.png"}}};
  const fs::path path = entry_.samples_folder() / "old.h5";
  store::write_shard(path, contents);
  const store::ShardReader shard(path);
  EXPECT_EQ(text_of(store::ByteRows(shard, "image").read(0)), "ree");
}

TEST_F(Places, AStopLeavesNoShard) {
  CleanRows rows(entry_, {"f3.png"});
  KeptRecord one;
  one.record.image = bytes_of("three");
  one.record.captions = {"", ""};
  rows.add(std::move(one));
  stop_.request();
  EXPECT_FALSE(rows.write(entry_.samples_folder() / "a.h5", core::Json::object(), stop_));
  EXPECT_TRUE(fs::is_empty(entry_.samples_folder()));
}

}  // namespace
}  // namespace microdit::ingest

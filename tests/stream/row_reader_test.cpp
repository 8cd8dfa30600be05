// Few open files for many shards, neighbours in one call, and who is named when bytes are wrong.
#include "stream/row_reader.h"

#include <gmock/gmock.h>

#include <thread>

#include "core/error.h"
#include "store/temporary_folder.h"
#include "stream/latents_folder.h"

namespace microdit::stream {
namespace {

class RowReaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    shape.shards = 5;
    make_folder(folder / "a", shape);
    StreamConfig config;
    config.size = 64;
    index = read_index({folder / "a", 1}, config);
  }

  // All latents rows of the index, into `values`, 256 each.
  std::vector<RowRequest> all_rows(std::vector<std::uint16_t>& values) const {
    values.assign(static_cast<std::size_t>(index.num_samples) * 256, 0xffff);
    std::vector<RowRequest> requests;
    for (std::int64_t sample = 0; sample < index.num_samples; ++sample) {
      const ShardIndex& shard = index.shard_of(sample);
      const std::int64_t row = shard.rows[static_cast<std::size_t>(sample - shard.first)];
      requests.push_back({&shard, &shard.latents, row, row,
                          reinterpret_cast<std::byte*>(&values[static_cast<std::size_t>(sample) * 256])});
    }
    return requests;
  }

  void expect_right(const std::vector<std::uint16_t>& values) const {
    for (std::size_t sample = 0; sample * 256 < values.size(); ++sample)
      for (std::size_t k = 0; k < 256; ++k) ASSERT_EQ(values[sample * 256 + k], sample + sample / 9);
  }

  static std::size_t open_files() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
  }

  TemporaryFolder folder;
  FolderShape shape;
  SourceIndex index;
};

TEST_F(RowReaderTest, KeepsFewFilesOpen) {
  RowReader reader(2, true);
  const std::size_t before = open_files();
  std::vector<std::uint16_t> values;
  for (int pass = 0; pass < 2; ++pass) {
    auto requests = all_rows(values);
    std::reverse(requests.begin(), requests.end());
    reader.read(requests);
    expect_right(values);
    EXPECT_EQ(open_files(), before + 2);
  }
}

TEST_F(RowReaderTest, SeveralThreadsShareIt) {
  RowReader reader(1, true);
  std::vector<std::thread> threads;
  std::vector<std::vector<std::uint16_t>> values(4);
  for (std::vector<std::uint16_t>& mine : values)
    threads.emplace_back([&] {
      for (int pass = 0; pass < 20; ++pass) {
        auto requests = all_rows(mine);
        reader.read(requests);
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : values) expect_right(mine);
}

TEST_F(RowReaderTest, CutFileIsNamed) {
  RowReader reader(2, true);
  const ShardIndex& shard = index.shards[3];
  std::filesystem::resize_file(shard.path, shard.latents.offset + 1000);
  std::vector<std::uint16_t> values;
  auto requests = all_rows(values);
  EXPECT_THAT(
      message_of<core::UserError>([&] { reader.read(requests); }),
      ::testing::AllOf(::testing::HasSubstr(shard.path.string()), ::testing::HasSubstr("latents_64")));
  std::filesystem::remove(index.shards[1].path);
  auto again = all_rows(values);
  EXPECT_THROW(reader.read(again), std::runtime_error);
}

}  // namespace
}  // namespace microdit::stream

// Tables that are damaged, of another kind, or asked by many threads at once.
#include "tables/table_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "core/hash.h"
#include "tables/scratch.h"
#include "tables/table_builder.h"

namespace microdit::tables {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string text_of(int i) {
  return "caption " + std::to_string(i) + std::string(static_cast<std::size_t>(i % 40), '.');
}

void build(const std::filesystem::path& path, int rows) {
  const core::StopFlag stop;
  TableSpec spec{.kind = "csv",
                 .files = {"x.csv"},
                 .key = "{key:08}.jpg",
                 .columns = {{"caption", "text"}, {"nsfw", "nsfw"}, {"ok", "ok"}}};
  TableBuilder builder(path, spec, stop);  // columns: key nsfw ok text
  for (int i = 0; i < rows; ++i)
    builder.add(std::vector<Value>{std::int64_t{i}, i / 8.0, i % 2 == 0, text_of(i)});
  builder.finish();
}

std::string key_of(int i) {
  return fmt::format("{:08}.jpg", i);
}

std::string refusal(const std::filesystem::path& path, bool whole = true) {
  return message_of<core::UserError>([&] {
    const TableFile table(path);
    if (whole) table.verify();
  });
}

TEST(TableFile, NoByteMayBeAnother) {
  const ScratchFolder folder;
  build(folder / "good", 1500);
  const std::string bytes = contents(folder / "good");
  ASSERT_GT(bytes.size(), 60'000u) << "several blocks";
  for (std::size_t at = 0; at < bytes.size(); at += at + 40 < bytes.size() && at > 40 ? 97 : 1) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x20);
    const std::string message = refusal(folder.write("bad", changed));
    EXPECT_THAT(message, HasSubstr((folder / "bad").string())) << at;
    EXPECT_THAT(message, HasSubstr("remove it and run clean again")) << at;
  }
  for (std::size_t size = 0; size < bytes.size(); size += size < 100 ? 1 : 1009)
    EXPECT_THAT(refusal(folder.write("bad", bytes.substr(0, size)), false),
                HasSubstr("remove it and run clean again"))
        << size;
  EXPECT_EQ(refusal(folder / "good"), "");
}

TEST(TableFile, ALookupNoticesABrokenBlock) {
  const ScratchFolder folder;
  build(folder / "good", 1500);
  std::string bytes = contents(folder / "good");
  bytes[100] ^= 1;
  const TableFile table(folder.write("bad", bytes));
  EXPECT_THAT(message_of<core::UserError>([&] { table.find(key_of(0)); }),
              HasSubstr("damaged (the checksum of the block at byte 16)"));
  EXPECT_THAT(table.find(key_of(1499)), ElementsAre(Row{text_of(1499), 1499 / 8.0, false}))
      << "other blocks are sound";
}

TEST(TableFile, SaysWhatItIsNot) {
  const ScratchFolder folder;
  EXPECT_THAT(refusal(folder / "none"), HasSubstr("cannot open"));
  EXPECT_THAT(refusal(folder.write("x", std::string(100, 'x'))), HasSubstr("no table of ours"));
  build(folder / "good", 3);
  std::string bytes = contents(folder / "good");
  bytes[8] = 9;
  EXPECT_THAT(refusal(folder.write("x", bytes)),
              HasSubstr("a table of version 9, this program reads version 1"));
}

TEST(TableFile, HasTypedColumns) {
  const ScratchFolder folder;
  build(folder / "a", 10);
  const TableFile table(folder / "a");
  EXPECT_THAT(table.columns(), ElementsAre("caption", "nsfw", "ok"));
  EXPECT_EQ(table.column("nsfw"), 1);
  EXPECT_EQ(table.column("text"), -1);
  EXPECT_EQ(as_number(table.find(key_of(3))[0][1]), .375);
  EXPECT_EQ(as_number(Value("0.5")), .5);
  EXPECT_EQ(as_number(Value("0.5x")), std::nullopt);
  EXPECT_EQ(as_number(Value(true)), 1);
  EXPECT_EQ(as_number(Value()), std::nullopt);
}

TEST(TableFile, IsAskedByManyThreads) {
  const ScratchFolder folder;
  build(folder / "a", 3000);
  const TableFile table(folder / "a");
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 3000; ++i) {
        const int row = (i * 7919 + t * 31) % 3100;
        const auto found = table.find(key_of(row));
        wrong += row < 3000 ? found.size() != 1 || found[0][0] != Value(text_of(row)) : !found.empty();
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace microdit::tables

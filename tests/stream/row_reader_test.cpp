// Few open files for many shards, neighbours in one call, and who is named when bytes are wrong.
#include "stream/row_reader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <future>
#include <thread>

#include "core/hash.h"
#include "store/temporary_folder.h"

namespace microdit::stream {
namespace {

using ::testing::HasSubstr;
constexpr std::size_t kRow = 512, kRows = 20, kFiles = 5;

class RowReaderTest : public ::testing::Test {
 protected:
  // Row r of file f is filled with f * kRows + r; between the rows lie as many other bytes.
  void SetUp() override {
    for (std::size_t f = 0; f < kFiles; ++f) {
      const std::filesystem::path path = folder / std::to_string(f);
      std::ofstream out(path, std::ios::binary);
      for (std::size_t r = 0; r < kRows; ++r)
        out << std::string(kRow, static_cast<char>(f * kRows + r)) << std::string(kRow, '\xff');
      names.push_back({f, path, "", 0});
    }
    for (std::size_t i = 0; i < kFiles * kRows; ++i)
      hashes.push_back(core::xxh3_64(std::vector<std::byte>(kRow, static_cast<std::byte>(i))));
  }

  std::vector<RowRequest> all_rows(std::vector<std::byte>& values) const {
    values.assign(kFiles * kRows * kRow, std::byte{0xee});
    std::vector<RowRequest> requests;
    for (std::size_t i = 0; i < kFiles * kRows; ++i)
      requests.push_back(
          {&names[i / kRows], i % kRows * 2 * kRow, kRow, &values[i * kRow], &hashes[i], i, nullptr});
    return requests;
  }

  static void expect_right(const std::vector<std::byte>& values) {
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], static_cast<std::byte>(i / kRow));
  }

  static std::size_t open_files() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
  }

  RowReader reader(std::size_t max_open, std::uint64_t gap = 1 << 20) {
    ReadRules rules;
    rules.gap_bytes = gap;
    return {std::make_shared<OpenFiles>(max_open, true), rules};
  }

  // Out of the page cache, where the file system has one of its own (tmpfs is nothing else).
  void forget() const {
    for (const FileName& name : names) {
      const int fd = ::open(name.path.c_str(), O_RDONLY | O_CLOEXEC);
      ::fsync(fd);
      ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
      ::close(fd);
    }
  }
  bool remembers() const {
    std::vector<std::byte> byte(1);
    const iovec part{byte.data(), 1};
    return OpenFile(names[0].path, true).read_cached(0, std::span(&part, 1));
  }
  /// Bytes that read(2) and its like have given to this process so far.
  static std::uint64_t bytes_read() {
    std::ifstream io("/proc/self/io");
    std::string word;
    std::uint64_t bytes = 0;
    io >> word >> bytes;
    return bytes;
  }

  TemporaryFolder folder;
  std::vector<FileName> names;
  std::vector<std::uint64_t> hashes;
};

// Over the gaps goes what a disk has to give; from memory comes no byte that nobody wants.
TEST_F(RowReaderTest, NothingBetweenTheRowsIsCopiedFromMemory) {
  const RowReader all = reader(kFiles);
  constexpr std::uint64_t kWanted = kFiles * kRows * kRow, kGaps = kFiles * (kRows - 1) * kRow,
                          kCounting = 1000;  // the first look at /proc/self/io itself
  for (const bool cached : {true, false}) {
    if (!cached) forget();
    if (!cached && remembers()) GTEST_SKIP() << "this file system keeps everything in memory";
    std::vector<std::byte> values;
    auto requests = all_rows(values);
    const std::uint64_t before = bytes_read();
    all.read(requests);
    const std::uint64_t read = bytes_read() - before;
    EXPECT_GE(read, kWanted);
    // A fast disk may have some rows in memory at the second look, or parts of them at the first.
    EXPECT_LE(read, kCounting + (cached ? kWanted : 2 * kWanted + kGaps));
    expect_right(values);
  }
}

TEST_F(RowReaderTest, KeepsFewFilesOpen) {
  for (const std::uint64_t gap : {0, 100, 1 << 20}) {
    const std::size_t before = open_files();
    const RowReader two = reader(2, gap);
    std::vector<std::byte> values;
    for (int pass = 0; pass < 2; ++pass) {
      if (pass == 1) forget();
      auto requests = all_rows(values);
      std::reverse(requests.begin(), requests.end());
      two.read(requests);
      expect_right(values);
      EXPECT_EQ(open_files(), before + 2);
    }
  }
}

TEST_F(RowReaderTest, SeveralThreadsShareIt) {
  const RowReader one = reader(1);
  std::vector<std::thread> threads;
  std::vector<std::vector<std::byte>> values(4);
  for (std::vector<std::byte>& mine : values)
    threads.emplace_back([&] {
      for (int pass = 0; pass < 20; ++pass) {
        auto requests = all_rows(mine);
        one.read(requests);
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : values) expect_right(mine);
}

TEST_F(RowReaderTest, OneRowForTwo) {
  std::vector<std::byte> values(3 * kRow);
  std::vector<RowRequest> requests;
  for (std::size_t i = 0; i < 3; ++i)
    requests.push_back(
        {&names[1], 2 * kRow * (i / 2), kRow, &values[i * kRow], &hashes[kRows + i / 2], i, nullptr});
  reader(2).read(requests);
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(values[i], static_cast<std::byte>(kRows + i / kRow / 2));
}

// What is wrong with some rows is told of these; all others are read.
TEST_F(RowReaderTest, BadRowsAreTold) {
  flip_bit(names[0].path, 3 * 2 * kRow + 5);                         // row 3
  std::filesystem::resize_file(names[3].path, 2 * kRow * 18 + 100);  // rows 18 and 19
  std::filesystem::remove(names[4].path);
  std::vector<std::byte> values;
  auto requests = all_rows(values);
  reader(2).read(requests);
  for (const RowRequest& request : requests) {
    const std::size_t i = request.wish;
    const bool bad = i == 3 || i == 3 * kRows + 18 || i == 3 * kRows + 19 || i >= 4 * kRows;
    EXPECT_EQ(request.bad != nullptr, bad) << i;
    if (!bad) {
      EXPECT_EQ(request.out[7], static_cast<std::byte>(i));
      continue;
    }
    const std::string message = message_of<std::runtime_error>([&] { std::rethrow_exception(request.bad); });
    EXPECT_THAT(message, HasSubstr(request.file->path.string()));
    if (i == 3) {
      EXPECT_THROW(std::rethrow_exception(request.bad), BadRow);
    }
  }
}

// What an open descriptor gives may be stale: the second try opens the file again.
TEST_F(RowReaderTest, SecondTryOpensAgain) {
  const RowReader two = reader(2);
  std::vector<std::byte> values;
  auto requests = all_rows(values);
  two.read(requests);
  const std::filesystem::path aside = folder / "aside";
  std::filesystem::copy_file(names[4].path, aside);
  flip_bit(names[4].path, 5);                     // the file that is open
  std::filesystem::rename(aside, names[4].path);  // the file that has the name now
  requests = all_rows(values);
  two.read(requests);
  expect_right(values);
  for (const RowRequest& request : requests) EXPECT_EQ(request.bad, nullptr);
}

// Opening a FIFO waits for who writes it, as a busy metadata server lets one wait.
TEST_F(RowReaderTest, ASlowOpenHoldsUpNobodyElse) {
  OpenFiles files(8, false);
  const std::filesystem::path slow = folder / "slow";
  ASSERT_EQ(::mkfifo(slow.c_str(), 0600), 0);
  std::thread waiting([&] { files.open({1000, slow, "", 0}); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // it is in open() now
  auto others = std::async(std::launch::async, [&] {
    for (int pass = 0; pass < 100; ++pass)
      for (const FileName& name : names) files.open(name);
  });
  EXPECT_EQ(others.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  const int writer = ::open(slow.c_str(), O_WRONLY);
  waiting.join();
  ::close(writer);
}

}  // namespace
}  // namespace microdit::stream

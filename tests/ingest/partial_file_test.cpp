// Partial files where nothing can be locked, and where their holder ends just before this process has the lock.
#include "ingest/partial_file.h"

#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <utility>

#include "core/atomic_file.h"
#include "tar_writer.h"

namespace {

int flock_error = 0;                 ///< flock fails with it, where it is not 0
std::function<void()> before_flock;  ///< once, while flock is being called

}  // namespace

// In place of the C library's, for all of this program.
extern "C" int flock(int fd, int operation) noexcept {
  if (before_flock) std::exchange(before_flock, nullptr)();
  if (flock_error == 0) return static_cast<int>(::syscall(SYS_flock, fd, operation));
  errno = flock_error;
  return -1;
}

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

class PartialFiles : public InFolder {
 protected:
  void TearDown() override {
    flock_error = 0;
    before_flock = nullptr;
    InFolder::TearDown();
  }
  std::optional<PartialFile> open() const {
    return PartialFile::open(path(), [](std::span<const std::byte>) { return std::string(); });
  }
  fs::path path() const { return folder_ / ".a.part"; }
};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST_F(PartialFiles, WithoutLocksTheBytesThatLieThereCount) {
  for (const int error : {0, ENOSYS, ENOLCK, EOPNOTSUPP}) {
    flock_error = error;
    fs::remove(path());
    std::optional<PartialFile> file = open();
    ASSERT_TRUE(file.has_value()) << error;
    file->begin({}, -1);
    file->append(bytes_of("ours, "));
    write(".a.part", "theirs");  // another process, where nothing keeps it out
    file->append(bytes_of("ours"));
    const core::StopFlag stop;
    const std::string counted = error == 0 ? "ours, ours" : "theirsours";
    EXPECT_EQ(file->sha256(stop), core::sha256(bytes_of(counted))) << error;
    EXPECT_EQ(core::read_text(path()), "theirsours");
  }
}

// What a machine's crash leaves may be as long as it was, and lack pages.
TEST_F(PartialFiles, OfAKilledLifeWhatWasSyncedCounts) {
  const std::vector<std::byte> block(1 << 20, std::byte{7});
  const FileVersion version{"\"v1\"", "", -1};
  for (const std::size_t blocks : {40, 70}) {
    fs::remove(path());
    const pid_t life = ::fork();
    if (life == 0) {
      std::optional<PartialFile> file = open();
      file->begin(version, -1);
      for (std::size_t i = 0; i < blocks; ++i) file->append(block);
      ::_exit(file->version() == version ? 0 : 1);
    }
    int status = -1;
    ::waitpid(life, &status, 0);
    ASSERT_EQ(status, 0);
    ASSERT_EQ(fs::file_size(path()), blocks << 20);
    const std::optional<PartialFile> next = open();
    if (blocks < 64) {
      EXPECT_EQ(next->version(), FileVersion()) << "nothing to go on with";
    } else {
      EXPECT_EQ(next->version(), version);
      EXPECT_EQ(next->bytes(), 64U << 20);
      EXPECT_EQ(fs::file_size(path()), 64U << 20);
    }
  }
}

TEST_F(PartialFiles, OfALifeThatEndsAllCounts) {
  const FileVersion version{"\"v1\"", "", 9};
  {
    std::optional<PartialFile> file = open();
    file->begin(version, 9);
    file->append(bytes_of("ours"));
  }
  const std::string mark = core::read_text(folder_ / ".a.part.etag");
  {
    std::optional<PartialFile> file = open();
    EXPECT_EQ(file->version(), version);
    EXPECT_EQ(file->bytes(), 4u);
    file->publish(folder_ / "a");
  }
  EXPECT_FALSE(fs::exists(folder_ / ".a.part.etag"));
  // Marks that say nothing that can be trusted: more than is there, no number, an earlier microdit's.
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{{"\n4\n", "\n5\n"},
                                                                                 {"\n4\n", "\n\n"},
                                                                                 {"\n4\n", "\n"},
                                                                                 {"\n4\n", "\n-1\n"},
                                                                                 {"part 3", "part 2"}}) {
    write(".a.part", "ours");
    std::string other = mark;
    write(".a.part.etag", other.replace(other.find(from), from.size(), to));
    EXPECT_EQ(open()->version(), FileVersion()) << other;
  }
  write(".a.part.etag", mark);
  EXPECT_EQ(open()->version(), version);
}

TEST_F(PartialFiles, WhatFitsOnceIsPublishedWithoutAMark) {
  std::optional<PartialFile> file = open();
  file->begin({"\"v1\"", "", 4}, 4);
  file->append(bytes_of("ours"));
  EXPECT_FALSE(fs::exists(folder_ / ".a.part.etag"));
  file->publish(folder_ / "a");
  file.reset();
  EXPECT_FALSE(fs::exists(folder_ / ".a.part.etag"));
  EXPECT_EQ(core::read_text(folder_ / "a"), "ours");
}

TEST_F(PartialFiles, OneAtATimeHoldsIt) {
  const std::optional<PartialFile> first = open();
  EXPECT_TRUE(first.has_value());
  EXPECT_FALSE(open().has_value());
}

TEST_F(PartialFiles, WhatItsHolderPublishedMeanwhileIsNotTouched) {
  write(".a.part", "whole");
  before_flock = [&] { fs::rename(path(), folder_ / "a"); };
  std::optional<PartialFile> file = open();
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->bytes(), 0u);
  file->begin({}, -1);
  file->append(bytes_of("again"));
  EXPECT_EQ(core::read_text(folder_ / "a"), "whole");
  EXPECT_EQ(core::read_text(path()), "again");
}

TEST_F(PartialFiles, WhatItsHolderRemovedMeanwhileIsMadeAnew) {
  write(".a.part", "no archive");
  before_flock = [&] { fs::remove(path()); };
  const std::optional<PartialFile> file = open();
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->bytes(), 0u);
  EXPECT_TRUE(fs::exists(path()));
}

}  // namespace
}  // namespace microdit::ingest

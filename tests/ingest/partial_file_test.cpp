// Partial files where nothing can be locked, and where their holder ends just before this process has the lock.
#include "ingest/partial_file.h"

#include <sys/file.h>
#include <sys/syscall.h>

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

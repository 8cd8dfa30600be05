// The reader of archives on a disk that fails: what could not be read is neither the archive's damage nor a member's.
#include "ingest/archive_reader.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "core/error.h"
#include "tar_writer.h"

namespace {
thread_local int sound_reads = -1;  ///< preads of this thread until all fail; -1: none does
}  // namespace

extern "C" ssize_t pread(int file, void* to, size_t count, off_t at) {
  if (sound_reads == 0) {
    errno = EIO;
    return -1;
  }
  if (sound_reads > 0) --sound_reads;
  return ::syscall(SYS_pread64, file, to, count, at);
}

namespace microdit::ingest {
namespace {

class ArchiveReader : public InFolder {
 protected:
  std::vector<Member> read(const std::string& bytes, int sound, const std::string& kind = "tar") const {
    const auto path = write("a." + kind, bytes);
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    std::vector<Member> members;
    sound_reads = sound;
    try {
      read_archive(file, "a.tar", {.kind = kind, .offsets = true},
                   [&](Member&& member) { members.push_back(std::move(member)); });
    } catch (...) {
      sound_reads = -1;
      ::close(file);
      throw;
    }
    sound_reads = -1;
    ::close(file);
    return members;
  }
};

TEST_F(ArchiveReader, AFaultIsNoDamage) {
  const std::string whole = TarWriter().add("a.txt", "one").finished();
  // The first bytes; where the member lies; the end mark.
  for (const int sound : {0, 1, 2})
    expect_error<core::FaultError>([&] { read(whole, sound); },
                                   {"a.tar: cannot be read: Input/output error"});
  const auto members = read(whole, 3);
  ASSERT_EQ(members.size(), 1u);
  EXPECT_EQ(members[0].offset, 512);
}

}  // namespace
}  // namespace microdit::ingest

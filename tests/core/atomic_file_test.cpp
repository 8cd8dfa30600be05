// Atomic writes: the bytes, the mode, and nothing left behind when they fail.
#include "core/atomic_file.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sys/resource.h>
#include <sys/stat.h>
#include <regex>

#include <csignal>

#include "core/error.h"
#include "core/scratch_folder.h"

namespace microdit::core {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

TEST(AtomicFile, WritesAndReplaces) {
  ScratchFolder folder;
  atomic_write(folder / "a", std::string_view("first"));
  atomic_write(folder / "a", std::string_view("second\0bytes", 12));
  EXPECT_EQ(read_text(folder / "a"), std::string("second\0bytes", 12));
  EXPECT_EQ(folder.names(), std::set<std::string>{"a"});
}

TEST(AtomicFile, JoinsPieces) {
  ScratchFolder folder;
  const std::string left = "left ", right = "right";
  const std::array<std::span<const std::byte>, 3> pieces{
      std::as_bytes(std::span(left)), std::span<const std::byte>(), std::as_bytes(std::span(right))};
  atomic_write(folder / "a", pieces);
  EXPECT_EQ(read_text(folder / "a"), "left right");
}

TEST(AtomicFile, ModeFollowsTheUmask) {
  ScratchFolder folder;
  const mode_t before = umask(027);
  atomic_write(folder / "a", std::string_view("x"));
  umask(before);
  struct stat about {};
  ASSERT_EQ(stat((folder / "a").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777u, 0640u);
}

TEST(AtomicFile, RelativePathWithoutFolder) {
  ScratchFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  atomic_write("plain", std::string_view("x"));
  std::filesystem::current_path(before);
  EXPECT_EQ(read_text(folder / "plain"), "x");
}

TEST(AtomicFile, MissingFolderIsNamed) {
  ScratchFolder folder;
  const auto message = message_of<SystemError>([&] { atomic_write(folder / "no/a", std::string_view("x")); });
  EXPECT_THAT(message, HasSubstr("no/a"));
  EXPECT_THAT(message, HasSubstr("No such file or directory"));
  EXPECT_TRUE(folder.names().empty());
}

// A full disk, played by the file size limit: write() stops half-way and then fails.
TEST(AtomicFile, FailedWriteLeavesTheOldFileAndNothingElse) {
  ScratchFolder folder;
  atomic_write(folder / "a", std::string_view("old"));
  const std::string large(1 << 20, 'x');
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{4096, before.rlim_max};
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const auto message = message_of<SystemError>([&] { atomic_write(folder / "a", std::string_view(large)); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(message, HasSubstr((folder / "a").string()));
  EXPECT_THAT(message, HasSubstr("File too large"));
  EXPECT_EQ(read_text(folder / "a"), "old");
  EXPECT_EQ(folder.names(), std::set<std::string>{"a"});
}

TEST(AtomicFile, FailedRenameRemovesTheTemporary) {
  ScratchFolder folder;
  std::filesystem::create_directories(folder / "a/inside");
  const auto message = message_of<SystemError>([&] { atomic_write(folder / "a", std::string_view("x")); });
  EXPECT_THAT(message, HasSubstr("Is a directory"));
  EXPECT_EQ(folder.names(), std::set<std::string>{"a"});
}

TEST(AtomicFile, PublishesAFolder) {
  ScratchFolder folder;
  const auto aside = temporary_path(folder / "step_1");
  std::filesystem::create_directory(aside);
  atomic_write(aside / "weights", std::string_view("w"));
  publish(aside, folder / "step_1");
  EXPECT_EQ(folder.names(), std::set<std::string>{"step_1"});
  EXPECT_EQ(read_text(folder / "step_1/weights"), "w");
}

TEST(AtomicFile, PublishOfNothingFails) {
  ScratchFolder folder;
  EXPECT_THROW(publish(folder / "missing", folder / "a"), SystemError);
  EXPECT_TRUE(folder.names().empty());
}

TEST(AtomicFile, TemporaryNamesAreHiddenAndCarryTheLife) {
  EXPECT_THAT(generation(), MatchesRegex("j[0-9]+r[0-9]+h[0-9a-f]+p[0-9]+x[0-9a-f]+"));
  EXPECT_EQ(generation(), generation());
  EXPECT_EQ(temporary_path("folder/a.h5"), "folder/.a.h5." + generation() + ".tmp");
}

/// A temporary of `name` as another process of this host leaves it.
std::string temporary_of(const std::string& name, const std::string& pid) {
  std::string text = temporary_path(name).filename().string();
  return std::regex_replace(text, std::regex("p[0-9]+x[0-9a-f]+\\.tmp$"), "p" + pid + "x0.tmp");
}

TEST(AtomicFile, RemovesOnlyAbandonedTemporaries) {
  ScratchFolder folder;
  const std::string foreign = ".c.j7r0h00000000p1x0.tmp";  // of another host and job, just written
  const std::string living = temporary_of("d", "1"),
                    dead = temporary_of("step_1", "4194304");  // above any pid
  folder.write(dead, "");
  std::filesystem::create_directories(folder / temporary_of("step_2", "4194304") / "deep");
  folder.write(".nobody.tmp", "");
  for (const std::string& name : {std::string(".hidden"), std::string("kept.tmp"), foreign, living})
    folder.write(name, "");
  const std::string own = temporary_path("step_3").filename();
  folder.write(own, "");
  remove_stale_temporaries(folder.path());
  EXPECT_EQ(folder.names(), (std::set<std::string>{".hidden", "kept.tmp", own, foreign, living}));
  std::filesystem::last_write_time(folder / foreign,
                                   std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  remove_stale_temporaries(folder.path());
  EXPECT_EQ(folder.names(), (std::set<std::string>{".hidden", "kept.tmp", own, living}));
  EXPECT_NO_THROW(remove_stale_temporaries(folder / "missing"));
}

TEST(AtomicFile, ReadTextTellsUserMistakes) {
  ScratchFolder folder;
  EXPECT_THAT(message_of<UserError>([&] { read_text(folder / "missing"); }), HasSubstr("No such file"));
  EXPECT_THAT(message_of<UserError>([&] { read_text(folder.path()); }), HasSubstr("is a folder"));
  EXPECT_EQ(read_text(folder.write("empty", "")), "");
  EXPECT_FALSE(read_text("/proc/self/status").empty());  // a file that says its size is 0
}

// A process that was killed and whose end nobody asked for writes nothing any more.
TEST(AtomicFile, TemporariesOfADeadChildAreAbandoned) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);  // it stays a zombie
  const std::string own = generation();
  const std::size_t begin = own.rfind('p'), end = own.find('x', begin);
  const std::string dead = own.substr(0, begin + 1) + std::to_string(child) + own.substr(end);
  EXPECT_TRUE(is_abandoned("/nowhere/.a.h5." + dead + ".tmp"));
  EXPECT_FALSE(is_abandoned("/nowhere/.a.h5." + own + ".tmp"));
  ::waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace microdit::core

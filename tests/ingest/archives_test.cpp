// Archives: plain ones come through byte for byte, hostile and broken ones are refused with the file's name.
#include "ingest/archives.h"

#include <cstdlib>

#include "core/error.h"
#include "tar_writer.h"

namespace microdit::ingest {
namespace {

std::vector<Member> read_all(const std::filesystem::path& file, const std::string& kind = "tar",
                             ArchiveLimits limits = {}) {
  std::vector<Member> members;
  for_each_member(file, kind, limits, [&](Member&& member) { members.push_back(std::move(member)); });
  return members;
}

std::string text_of(const Member& member) {
  return {reinterpret_cast<const char*>(member.bytes.data()), member.bytes.size()};
}

class Archives : public InFolder {
 protected:
  void expect_refused(const std::string& bytes, std::initializer_list<const char*> parts) const {
    const auto file = write("bad.tar", bytes);
    expect_error<core::UserError>([&] { read_all(file); }, parts);
  }
};

TEST_F(Archives, MembersInOrderWithoutFolders) {
  const std::string large(100'000, 'x');
  const auto file = write(
      "a.tar",
      TarWriter().add("d/", "", '5').add("./d/b.txt", "two").add("a.txt", "").add("c.bin", large).finished());
  const auto members = read_all(file);
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].name, "d/b.txt");
  EXPECT_EQ(text_of(members[0]), "two");
  EXPECT_EQ(members[1].name, "a.txt");
  EXPECT_EQ(text_of(members[2]), large);
}

TEST_F(Archives, TruncatedInsideAMember) {
  const std::string whole = TarWriter().add("a.txt", std::string(5000, 'a')).finished();
  expect_refused(whole.substr(0, 3000), {"bad.tar", "truncated", "download it again"});
}

TEST_F(Archives, TruncatedBetweenMembers) {
  const TarWriter writer = TarWriter().add("a.txt", std::string(512, 'a'));
  expect_refused(writer.unfinished(), {"bad.tar", "end mark"});
  EXPECT_EQ(read_all(write("good.tar", writer.finished())).size(), 1u);  // the control
}

TEST_F(Archives, NoArchiveAtAll) {
  expect_refused("", {"bad.tar", "empty"});
  expect_refused(std::string(4096, 'q'), {"bad.tar", "damaged"});
  expect_error<core::UserError>([&] { read_all(folder_ / "none.tar"); }, {"none.tar", "no such archive"});
}

TEST_F(Archives, NamesThatLeaveTheFolder) {
  for (const char* name :
       {"../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "a/..\\..\\evil.txt", "..", "\\evil.txt"}) {
    expect_refused(TarWriter().add("ok.txt", "fine").add(name, "evil").finished(),
                   {"bad.tar", name, "hostile"});
  }
  const auto file = write("good.tar", TarWriter().add("a..b/..c.txt", "fine").finished());
  EXPECT_EQ(read_all(file)[0].name, "a..b/..c.txt");  // the control: dots within names are harmless
}

TEST_F(Archives, LinksAndDevices) {
  expect_refused(TarWriter().add("l.txt", "", '2', "/etc/passwd").finished(), {"l.txt", "link"});
  expect_refused(TarWriter().add("a.txt", "x").add("h.txt", "", '1', "a.txt").finished(), {"h.txt", "link"});
  expect_refused(TarWriter().add("dev.txt", "", '3').finished(), {"dev.txt", "device"});
  expect_refused(TarWriter().add("fifo.txt", "", '6').finished(), {"fifo.txt", "device"});
}

TEST_F(Archives, OversizeMembersAreReportedNotKept) {
  const auto file =
      write("a.tar", TarWriter().add("big.bin", std::string(5000, 'b')).add("a.txt", "small").finished());
  const auto members = read_all(file, "tar", {.member_bytes = 4999, .expansion = 100});
  ASSERT_EQ(members.size(), 2u);
  EXPECT_TRUE(members[0].oversize);
  EXPECT_TRUE(members[0].bytes.empty());
  EXPECT_FALSE(members[1].oversize);
  EXPECT_EQ(text_of(members[1]), "small");
}

TEST_F(Archives, GzipBombAndItsControl) {
  const auto tar = write("bomb.tar", TarWriter().add("zeros.bin", std::string(100'000'000, '\0')).finished());
  ASSERT_EQ(std::system(("gzip -9 -k " + tar.string()).c_str()), 0);
  const std::string bomb = tar.string() + ".gz";
  expect_error<core::UserError>([&] { read_all(bomb, "tgz"); }, {"bomb.tar.gz", "decompression bomb"});
  EXPECT_EQ(read_all(bomb, "tgz", {.expansion = 2000}).size(), 1u);
  expect_error<core::UserError>([&] { read_all(bomb, "tar"); },
                                {"bomb.tar.gz"});  // said to be plain: not unpacked
}

}  // namespace
}  // namespace microdit::ingest

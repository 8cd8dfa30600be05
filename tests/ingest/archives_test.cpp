// Archives: plain ones come through byte for byte, hostile and broken ones are refused with the file's name.
#include "ingest/archives.h"

#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "tar_writer.h"

namespace microdit::ingest {
namespace {

std::vector<Member> read_all(const std::filesystem::path& file, const std::string& kind = "tar",
                             ArchiveRules rules = {}) {
  std::vector<Member> members;
  rules.kind = kind;
  for_each_member(file, rules, [&](Member&& member) { members.push_back(std::move(member)); });
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
  expect_refused(whole.substr(0, 3000), {"bad.tar", "truncated"});
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

TEST_F(Archives, NamesThatLeaveTheFolderCostOneMember) {
  for (const char* name :
       {"../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "a/..\\..\\evil.txt", "..", "\\evil.txt"}) {
    const auto members = read_all(
        write("a.tar", TarWriter().add("ok.txt", "fine").add(name, "evil").add("on.txt", "on").finished()));
    ASSERT_EQ(members.size(), 3u) << name;
    std::string shown = name;
    std::ranges::replace(shown, '\\', '/');
    EXPECT_EQ(members[1].name, shown);
    EXPECT_EQ(members[1].skip, "damaged.name");
    EXPECT_TRUE(members[1].bytes.empty());
    EXPECT_EQ(text_of(members[2]), "on");
  }
  const auto file =
      write("good.tar", TarWriter().add("a..b/..c.txt", "fine").add("a..b/c..txt", "fine").finished());
  const auto members = read_all(file);
  ASSERT_EQ(members.size(), 1u);              // "..c.txt" is a hidden file
  EXPECT_EQ(members[0].name, "a..b/c..txt");  // dots within names are harmless
}

TEST_F(Archives, LinksAndDevicesCostOneMember) {
  const auto members = read_all(write("a.tar", TarWriter()
                                                   .add("a.txt", "x")
                                                   .add("l.txt", "", '2', "/etc/passwd")
                                                   .add("h.txt", "", '1', "a.txt")
                                                   .add("dev.txt", "", '3')
                                                   .add("fifo.txt", "", '6')
                                                   .add("b.txt", "y")
                                                   .finished()));
  std::vector<std::string> skips;
  for (const Member& member : members) skips.push_back(member.skip);
  EXPECT_EQ(skips, (std::vector<std::string>{"", "unsupported.link", "unsupported.link",
                                             "unsupported.special", "unsupported.special", ""}));
}

TEST_F(Archives, WhatAMacAddsIsPassedOver) {
  const auto members = read_all(write("a.tar", TarWriter()
                                                   .add("._a.jpg", "mac")
                                                   .add("a.jpg", "picture")
                                                   .add("d/.DS_Store", "mac")
                                                   .add("__MACOSX/._a.jpg", "mac")
                                                   .add("__MACOSX/b.jpg", "mac")
                                                   .add("x/__MACOSX/b.jpg", "mac")
                                                   .finished()));
  ASSERT_EQ(members.size(), 1u);
  EXPECT_EQ(text_of(members[0]), "picture");
}

TEST_F(Archives, ConcatenatedArchivesAreReadOn) {
  const std::string both = TarWriter().add("a.txt", "one").finished() +
                           TarWriter().add("b.txt", "two").add("c.txt", "three").finished();
  EXPECT_EQ(read_all(write("a.tar", both)).size(), 3u);
  expect_refused(both + std::string(1024, 'q'), {"bad.tar", "damaged"});
  const auto one = write("one.tar", TarWriter().add("a.txt", "one").finished());
  const auto two = write("two.tar", TarWriter().add("b.txt", "two").finished());
  ASSERT_EQ(std::system(("gzip -k " + one.string() + " " + two.string() + " && cat " + one.string() + ".gz " +
                         two.string() + ".gz > " + (folder_ / "both.tgz").string())
                            .c_str()),
            0);
  EXPECT_EQ(read_all(folder_ / "both.tgz", "tgz").size(), 2u);
}

TEST_F(Archives, ATgzCutBetweenMembersIsSeen) {
  const auto cut = write("cut.tar", TarWriter().add("a.txt", std::string(512, 'a')).unfinished());
  ASSERT_EQ(std::system(("gzip -k " + cut.string()).c_str()), 0);
  expect_error<core::UserError>([&] { read_all(cut.string() + ".gz", "tgz"); }, {"cut.tar.gz", "end mark"});
}

TEST_F(Archives, AnotherFormatIsNamed) {
  const auto tar = write("a.tar", TarWriter().add("a.txt", "one").finished());
  ASSERT_EQ(std::system(("gzip -k " + tar.string()).c_str()), 0);
  expect_error<core::UserError>([&] { read_all(tar.string() + ".gz"); },
                                {"a.tar.gz", "is gzip", "archive: tgz"});
  expect_error<core::UserError>([&] { read_all(tar, "tgz"); }, {"a.tar", "is tar", "archive: tar"});
  expect_error<core::UserError>([&] { read_all(tar, "zip"); }, {"a.tar", "is tar", "archive: tar"});
  expect_error<core::UserError>([&] { read_all(write("b.tar", "<!DOCTYPE html><p>sign in")); }, {"web page"});
  expect_error<core::UserError>(
      [&] { read_all(write("c.tar", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n")); },
      {"Git LFS"});
}

TEST_F(Archives, UnwantedExtensionsAreNotKept) {
  const auto file = write("a.tar", TarWriter()
                                       .add("1.JPG", "picture")
                                       .add("1.txt", "text")
                                       .add("1.npy", "array")
                                       .add("README", "r")
                                       .finished());
  std::vector<Member> members;
  const ArchiveRules rules{.wanted = {"jpg", "txt"}};
  const ArchiveSummary summary =
      for_each_member(file, rules, [&](Member&& m) { members.push_back(std::move(m)); });
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(summary.members, 4);
  EXPECT_EQ(summary.passed_over, 2);
  EXPECT_EQ(summary.example, "1.npy");
}

TEST_F(Archives, WhereBytesLie) {
  const auto file =
      write("a.tar", TarWriter().add("1.jpg", "first").add("2.jpg", std::string(5000, 'x')).finished());
  std::vector<Member> members;
  for_each_member(file, {.offsets = true}, [&](Member&& m) { members.push_back(std::move(m)); });
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].offset, 512);
  EXPECT_EQ(members[1].offset, 512 * 3);
}

TEST_F(Archives, WhereBytesLieInAZip) {
  const std::string zip = (folder_ / "a.zip").string();
  const std::string script =
      "import zipfile; z = zipfile.ZipFile('" + zip +
      "', 'w'); z.writestr('1.jpg', 'stored bytes'); z.writestr('2.jpg', 'x' * 5000, zipfile.ZIP_DEFLATED); "
      "z.writestr('3.jpg', 'more of them'); z.close()";
  ASSERT_EQ(std::system(("python3 -c \"" + script + "\"").c_str()), 0);
  std::vector<Member> members;
  for_each_member(zip, {.kind = "zip", .offsets = true},
                  [&](Member&& m) { members.push_back(std::move(m)); });
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].offset, 30 + 5);  // behind the local header and its name
  EXPECT_EQ(members[1].offset, -1);      // compressed
  EXPECT_GT(members[2].offset, 0);
}

TEST_F(Archives, AStopEndsTheReading) {
  const auto file = write("a.tar", TarWriter().add("1.jpg", "1").add("2.jpg", "2").finished());
  core::StopFlag stop;
  int seen = 0;
  const auto summary = for_each_member(
      file, {}, [&](Member&&) { ++seen, stop.request(); }, &stop);
  EXPECT_TRUE(summary.stopped);
  EXPECT_EQ(seen, 1);
}

TEST_F(Archives, OversizeMembersAreReportedNotKept) {
  const auto file =
      write("a.tar", TarWriter().add("big.bin", std::string(5000, 'b')).add("a.txt", "small").finished());
  const auto members = read_all(file, "tar", {.member_bytes = 4999});
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].skip, "unsupported.oversize");
  EXPECT_TRUE(members[0].bytes.empty());
  EXPECT_EQ(members[1].skip, "");
  EXPECT_EQ(text_of(members[1]), "small");
}

TEST_F(Archives, GzipBombAndItsControl) {
  const auto tar = write("bomb.tar", TarWriter().add("zeros.bin", std::string(100'000'000, '\0')).finished());
  ASSERT_EQ(std::system(("gzip -9 -k " + tar.string()).c_str()), 0);
  const std::string bomb = tar.string() + ".gz";
  expect_error<core::UserError>([&] { read_all(bomb, "tgz"); }, {"bomb.tar.gz", "decompression bomb"});
  EXPECT_EQ(read_all(bomb, "tgz", {.member_bytes = 200'000'000, .expansion = 2000}).size(), 1u);
}

}  // namespace
}  // namespace microdit::ingest

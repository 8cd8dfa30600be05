// Sources: ranges, names, schemes, lists, the small subset.
#include "ingest/sources.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "core/error.h"
#include "ingest/file_pattern.h"
#include "tar_writer.h"

namespace microdit::ingest {
namespace {

CatalogueEntry entry_of(std::vector<std::string> urls) {
  CatalogueEntry entry;
  entry.name = "t";
  entry.source.urls = std::move(urls);
  return entry;
}

const HubListing kNoHub = [](const SourceSection&) { return std::vector<HubFile>(); };

std::vector<std::string> names_of(const CatalogueEntry& entry) {
  std::vector<std::string> names;
  for (const RawFile& file : list_files(entry, kNoHub)) names.push_back(file.name);
  return names;
}

using Strings = std::vector<std::string>;

TEST(ExpandRanges, NumbersKeepTheirWidth) {
  EXPECT_EQ(expand_ranges("a.tar"), (Strings{"a.tar"}));
  EXPECT_EQ(expand_ranges("a-{0008..0011}.tar"),
            (Strings{"a-0008.tar", "a-0009.tar", "a-0010.tar", "a-0011.tar"}));
  EXPECT_EQ(expand_ranges("{0..1}/{8..10}"), (Strings{"0/8", "0/9", "0/10", "1/8", "1/9", "1/10"}));
  for (const char* bad :
       {"{3..1}", "{a..b}", "{1}", "{1..", "{..3}", "{0..99999999}", "{0..9999}{0..9999}"}) {
    EXPECT_THROW(expand_ranges(bad), core::UserError) << bad;
  }
}

TEST(ListFiles, NamesAreSafeAndUnique) {
  EXPECT_EQ(names_of(entry_of({"https://h/x/a.tar?sig=1#f", "file:///d/.hidden", "http://h/%2e%2e"})),
            (Strings{"a.tar", "_hidden", "_2e_2e"}));
  expect_error<core::UserError>(
      [] {
        names_of(entry_of({"http://h/x/a.tar", "http://h/y/a.tar"}));
      },
      {"two files are named a.tar", "http://h/x/a.tar", "http://h/y/a.tar", "list_file"});
  expect_error<core::UserError>([] { names_of(entry_of({"ftp://h/a.tar"})); },
                                {"ftp://h/a.tar", "only http"});
  expect_error<core::UserError>([] { names_of(entry_of({"file://d/a.tar"})); }, {"absolute"});
  expect_error<core::UserError>([] { names_of(entry_of({"http://h/"})); }, {"names no file"});
}

TEST(RawNames, DistinctNamesStayDistinctAndPairsStayTogether) {
  EXPECT_EQ(raw_names({"\xe7\x8c\xab.jpg", "\xe7\x8a\xac.jpg", "caf\xc3\xa9.jpg", "\xff.jpg"}),
            (Strings{"xe78cab.jpg", "xe78aac.jpg", "cafxc3a9.jpg", "xff.jpg"}));
  EXPECT_EQ(raw_names({"v1.0/p0.jpg", "v1.0/p0.txt", "v1.0/p1.v2.jpg"}),
            (Strings{"v1_0_p0.jpg", "v1_0_p0.txt", "v1_0_p1.v2.jpg"}));
  // Three stems that become one: what is plain already keeps its name, a caption goes where its picture goes.
  const Strings names = raw_names({"a/b.jpg", "a/b.txt", "a_b.jpg", "a b.jpg", "a c.jpg"});
  EXPECT_EQ(names[2], "a_b.jpg");
  EXPECT_EQ(names[4], "a_c.jpg");
  EXPECT_THAT(names[0], testing::MatchesRegex("a_b-[0-9a-f]+\\.jpg"));
  EXPECT_EQ(names[1], names[0].substr(0, names[0].find('.')) + ".txt");
  EXPECT_THAT(names[3], testing::MatchesRegex("a_b-[0-9a-f]+\\.jpg"));
  EXPECT_NE(names[3], names[0]);
  // A caption alone is not taken for that of another's picture.
  EXPECT_NE(raw_names({"a/b.txt", "a_b.jpg"})[0], "a_b.txt");
}

TEST(RawNames, LongOnesFitIntoAFolder) {
  const std::string stem(240, 'a');
  const Strings names = raw_names({stem + "1.jpg", stem + "2.jpg", stem + "1.txt"});
  EXPECT_LE(names[0].size(), 190U);
  EXPECT_NE(names[0], names[1]);
  EXPECT_EQ(names[0].substr(0, names[0].find('.')), names[2].substr(0, names[2].find('.')));
}

TEST(ListFiles, KnownDigestsBelongToFiles) {
  CatalogueEntry entry = entry_of({"http://h/a.tar"});
  entry.source.sha256["a.tar"] = std::string(64, 'a');
  EXPECT_EQ(list_files(entry, kNoHub)[0].sha256, std::string(64, 'a'));
  entry.source.sha256["b.tar"] = std::string(64, 'b');
  expect_error<core::UserError>([&] { list_files(entry, kNoHub); }, {"b.tar"});
}

TEST(ListFiles, SmallSubset) {
  CatalogueEntry entry = entry_of({"http://h/{000..249}.tar"});
  entry.subset = "small";
  EXPECT_EQ(names_of(entry), (Strings{"000.tar", "001.tar", "002.tar"}));  // 1 %, rounded up
  entry.source.small = {"{010..011}.tar"};
  EXPECT_EQ(names_of(entry), (Strings{"010.tar", "011.tar"}));
  entry.source.small = {"nope.tar"};
  expect_error<core::UserError>([&] { names_of(entry); }, {"source.small", "nope.tar"});
}

TEST(ListFiles, Hub) {
  ::setenv("MICRODIT_HUB", "https://hub.example", 1);
  CatalogueEntry entry;
  entry.source.hub = "org/name@v1";
  entry.source.pattern = {"data/a-{0..1}.tar"};
  const std::string commit(40, 'c');
  const auto files = list_files(entry, [&](const SourceSection&) {
    return std::vector<HubFile>{{.path = "data/a b-1.tar", .commit = commit, .bytes = 7, .sha256 = "s"}};
  });
  EXPECT_EQ(files.at(0).url, "https://hub.example/datasets/org/name/resolve/" + commit + "/data/a%20b-1.tar");
  EXPECT_EQ(files.at(0).name, "data_a_b-1.tar");
  EXPECT_EQ(files.at(0).bytes, 7);
  EXPECT_EQ(files.at(0).inputs.dump(),
            R"({"file":"data/a b-1.tar","hub":"org/name","commit":")" + commit + "\"}");
  for (const char* bad : {"name", "a/b/c", "../b", "org/name@", "org/name@../x"}) {
    entry.source.hub = bad;
    EXPECT_THROW(list_files(entry, kNoHub), core::UserError) << bad;
  }
  ::unsetenv("MICRODIT_HUB");
}

using ListFile = InFolder;
TEST_F(ListFile, TabSeparatedAfterAHeader) {
  CatalogueEntry entry;
  entry.source.list_file =
      write("list.tsv", "file_name\tcdn_link\na.tar\thttp://h/x?a=1\r\n\nb.tar\thttp://h/y\n");
  EXPECT_EQ(names_of(entry), (Strings{"a.tar", "b.tar"}));
  EXPECT_EQ(list_files(entry, kNoHub).at(0).inputs.dump(), R"({"file":"a.tar"})");
  entry.source.list_file = write("bare.tsv", "a.tar\thttp://h/x\nb.tar\thttp://h/y\n");  // no header line
  EXPECT_EQ(names_of(entry), (Strings{"a.tar", "b.tar"}));
  entry.source.list_file = write("bad.tsv", "h\tl\na.tar http://h/x\n");
  expect_error<core::UserError>([&] { names_of(entry); }, {"bad.tsv:2", "tab"});
  entry.source.list_file = (folder_ / "none.tsv").string();
  expect_error<core::UserError>([&] { names_of(entry); }, {"none.tsv"});
}

TEST(ListFiles, IdentityIsNamesAndAddressesWithoutQueries) {
  const auto files = list_files(entry_of({"https://u:p@h/x/a.tar?sig=1", "file:///here/b.tar"}), kNoHub);
  EXPECT_EQ(files.at(0).inputs.dump(), R"({"file":"a.tar","address":"https://h/x/a.tar"})");
  EXPECT_EQ(files.at(1).inputs.dump(), R"({"file":"b.tar"})");
}

TEST_F(ListFile, AFoldersFilesAreUsedWhereTheyLie) {
  std::filesystem::create_directories(folder_ / "in/deep/er");
  for (const char* name : {"in/b.tar", "in/a.tar", "in/a.txt", "in/deep/er/c.tar"}) write(name, "12345");
  CatalogueEntry entry;
  entry.name = "t";
  entry.source.folder = (folder_ / "in").string();
  entry.source.pattern = {"*.tar"};
  EXPECT_EQ(names_of(entry), (Strings{"a.tar", "b.tar"}));
  entry.source.pattern = {"**/*.tar"};
  EXPECT_EQ(names_of(entry), (Strings{"a.tar", "b.tar", "deep_er_c.tar"}));
  const RawFile file = list_files(entry, kNoHub).at(2);
  EXPECT_EQ(file.lies, folder_ / "in/deep/er/c.tar");
  EXPECT_EQ(file.inputs.at("file"), "deep/er/c.tar");
  EXPECT_EQ(file.inputs.at("bytes"), 5);
  EXPECT_GT(file.inputs.at("mtime"), 1'000'000'000);
  entry.source.pattern = {"*.zip"};
  expect_error<core::UserError>([&] { names_of(entry); }, {"source.pattern", "'*.zip'", "no such file"});
  entry.source.pattern = {"../*.tar"};
  expect_error<core::UserError>([&] { names_of(entry); }, {"without '..'"});
  entry.source.folder = (folder_ / "none").string();
  entry.source.pattern = {"*"};
  expect_error<core::UserError>([&] { names_of(entry); }, {"source.folder", "none", "no such folder"});
}

TEST(FilePattern, GlobsKnowFolders) {
  for (const auto& [pattern, path] :
       std::vector<std::pair<const char*, const char*>>{{"*.tar", "a.tar"},
                                                        {"**/*.tar", "a.tar"},
                                                        {"**/*.tar", "x/y/a.tar"},
                                                        {"d/**/a", "d/a"},
                                                        {"d/**/a", "d/e/f/a"},
                                                        {"d?/[a-c].x", "d1/b.x"}}) {
    EXPECT_TRUE(matches(pattern, path)) << pattern << " " << path;
  }
  for (const auto& [pattern, path] : std::vector<std::pair<const char*, const char*>>{{"*.tar", "x/a.tar"},
                                                                                      {"*", "a/b"},
                                                                                      {"d/*", "d"},
                                                                                      {"a", "a/b"},
                                                                                      {"a/b", "a"},
                                                                                      {"**/a", "x/b"},
                                                                                      {"[a-c].x", "d.x"}}) {
    EXPECT_FALSE(matches(pattern, path)) << pattern << " " << path;
  }
  const FilePatterns patterns({"data/train/{00..01}.tar", "data/train/x*.tar"}, "k");
  EXPECT_EQ(patterns.folder(), "data/train");
  EXPECT_FALSE(patterns.goes_deeper());
  EXPECT_TRUE(FilePatterns({"data/a.tar", "data/b/c.tar"}, "k").goes_deeper());
  EXPECT_EQ(FilePatterns({"data/a.tar", "other/c.tar"}, "k").folder(), "");
}

}  // namespace
}  // namespace microdit::ingest

// Sources: ranges, names, schemes, lists, the small subset.
#include "ingest/sources.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <set>

#include "core/error.h"
#include "core/hash.h"
#include "ingest/raw_name.h"
#include "store/manifest_text.h"
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

/// What is appended to a part of a name that is not plain.
std::string mark(std::string_view part) {
  return core::sha256(std::as_bytes(std::span(part))).substr(0, 8);
}

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
            (Strings{"a.tar", "_hidden-" + mark(".hidden"), "_2e_2e-" + mark("%2e%2e")}));
  EXPECT_EQ(
      names_of(entry_of({"https://h/records.tar", "https://h/facts.png", "https://h/x/manifest.tar.gz"})),
      (Strings{"records.tar", "facts_-" + mark("facts") + ".png", "manifest.tar.gz"}));
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

TEST(RawNames, WhatIsPlainStaysAndWhatIsNotIsMarked) {
  for (const std::string& plain :
       {std::string("a.tar"), std::string("p1.v2.jpg"), std::string("a..b."), std::string("a_b-0_1"),
        std::string(160, 'a') + ".caption.json", "a." + std::string(160, 'b') + ".jpg"})
    EXPECT_EQ(raw_name(plain), plain);
  EXPECT_EQ(raw_name("\xe7\x8c\xab.jpg"), "xe78cab-" + mark("\xe7\x8c\xab") + ".jpg");
  EXPECT_EQ(raw_name("v1.0/p 0.v2.jpg"), "v1_0-" + mark("v1.0/") + "_p_0-" + mark("p 0") + ".v2.jpg");
  EXPECT_EQ(raw_name("a.x y.jpg"), "a.x_y-" + mark(".x y") + ".jpg");
  EXPECT_EQ(raw_name("a.jp g"), "a.jp_g-" + mark(".jp g"));
  // Records and failures lie side by side: "x.failed.json".
  EXPECT_EQ(raw_name("x.failed"), "x.failed_-" + mark(".failed"));
  EXPECT_EQ(raw_name("x.part"), "x.part_-" + mark(".part"));
}

// A raw folder holds files of its own beside those of its source.
TEST(RawNames, TheFoldersOwnFilesKeepTheirNames) {
  for (const std::string& stem :
       {std::string("facts"), std::string("manifest"), std::string("records"), std::string("hub")})
    for (const char* rest : {"", ".json", ".jsonl", ".1.jsonl", ".png"})
      EXPECT_EQ(raw_name(stem + rest), stem + "_-" + mark(stem) + rest);
  EXPECT_EQ(raw_name("a/facts.json"), "a-" + mark("a/") + "_facts.json");
  EXPECT_EQ(raw_name("facts2.json"), "facts2.json");
}

TEST(RawNames, DistinctNamesStayDistinct) {
  const Strings paths = {"a/b.jpg",   "a_b.jpg",  "a b.jpg", "a.b.jpg",   "a/b/c.jpg", "a/b_c.jpg",
                         "a_b/c.jpg", ".a.jpg",   "_a.jpg",  "a.x y.jpg", "a.x_y.jpg", "a.jp g",
                         "a.jp_g",    "\xff.jpg", "xff.jpg", "x.part",    "x.part_"};
  std::set<std::string> names;
  for (const std::string& path : paths) names.insert(raw_name(path));
  EXPECT_EQ(names.size(), paths.size());
}

TEST(RawNames, ACaptionGoesWhereItsPictureGoes) {
  const auto stem = [](const std::string& path, char dot_from_end) {
    const std::string name = raw_name(path);
    return name.substr(0, dot_from_end == '<' ? name.find('.') : name.rfind('.'));
  };
  const std::string long_one(240, 'a'), foreign = "1 " + std::string(90, '\xe8');
  for (const std::string& one : {std::string("a b"), std::string("a/b"), std::string(".a"), long_one, foreign,
                                 long_one + "/" + long_one}) {
    EXPECT_EQ(stem(one + ".jpg", '<'), stem(one + ".caption.json", '<'));
    EXPECT_EQ(stem(one + "." + foreign + ".jpg", '>'), stem(one + "." + foreign + ".txt", '>'));
  }
}

TEST(RawNames, AllFitIntoAFolder) {
  std::set<std::string> names;
  const std::string much(240, 'a'), foreign(85, '\xe8');
  for (const std::string& folder : {std::string(), much + "/", foreign + "/"})
    for (const std::string& stem : {much, much + "1", foreign, std::string("1")})
      for (const std::string& middle : {std::string(), "." + much, "." + foreign})
        for (const std::string& suffix : {std::string(".jpg"), "." + much, "." + foreign}) {
          const std::string name = raw_name(folder + stem + middle + suffix);
          EXPECT_LE(name.size(), 180U) << name;
          EXPECT_TRUE(store::is_plain_name(name)) << name;
          names.insert(name);
        }
  EXPECT_EQ(names.size(), 3U * 4 * 3 * 3);
}

TEST(ListFiles, KnownDigestsBelongToFiles) {
  CatalogueEntry entry = entry_of({"http://h/a.tar"});
  entry.source.sha256["a.tar"] = std::string(64, 'a');
  EXPECT_EQ(list_files(entry, kNoHub)[0].sha256, std::string(64, 'a'));
  entry.source.sha256["b.tar"] = std::string(64, 'b');
  expect_error<core::UserError>([&] { list_files(entry, kNoHub); }, {"source.sha256", "b.tar", "a.tar"});
}

TEST(ListFiles, SmallSubset) {
  CatalogueEntry entry = entry_of({"http://h/{000..249}.tar"});
  entry.subset = "small";
  EXPECT_EQ(names_of(entry), (Strings{"000.tar", "001.tar", "002.tar"}));  // 1 %, rounded up
  entry.source.small = {"{010..011}.tar"};
  EXPECT_EQ(names_of(entry), (Strings{"010.tar", "011.tar"}));
  entry.source.small = {"nope.tar"};
  expect_error<core::UserError>([&] { names_of(entry); }, {"source.small", "nope.tar"});
  entry.source.small = {"10.tar"};
  expect_error<core::UserError>([&] { names_of(entry); },
                                {"no file is named 10.tar", "most like it is 010.tar"});
  entry = entry_of({"http://h/a.b.jpg", "http://h/a.b.txt", "http://h/a.c.jpg", "http://h/z.csv"});
  entry.subset = "small", entry.archive = "none", entry.tables.emplace_back().file = "z.csv";
  EXPECT_EQ(names_of(entry), (Strings{"z.csv", "a.b.jpg", "a.b.txt"})) << "a whole record, and the table";
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
  EXPECT_EQ(files.at(0).name, "data-" + mark("data/") + "_a_b-1-" + mark("a b-1") + ".tar");
  EXPECT_EQ(files.at(0).bytes, 7);
  // Named by its path, or by its name under raw/.
  const HubListing two = [&](const SourceSection&) {
    return std::vector<HubFile>{{.path = "data/a.tar", .commit = commit},
                                {.path = "data/b.tar", .commit = commit}};
  };
  CatalogueEntry small = entry;
  small.subset = "small";
  const std::string raw = "data-" + mark("data/") + "_b.tar";
  for (const std::string& name : {std::string("data/b.tar"), raw}) {
    small.source.small = {name};
    small.source.sha256 = {{name, std::string(64, 'b')}};
    EXPECT_EQ(list_files(small, two).at(0).name, raw) << name;
    EXPECT_EQ(list_files(small, two).at(0).sha256, std::string(64, 'b')) << name;
  }
  small.source.sha256 = {{"b.tar", std::string(64, 'b')}};
  expect_error<core::UserError>([&] { list_files(small, two); }, {"source.sha256: no file is named b.tar",
                                                                  "data/b.tar, under raw/ ", raw.c_str()});
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
  // A name is no other because of what else is listed.
  entry.source.list_file = write("one.tsv", "a b.tar\thttp://h/x\n");
  const Strings alone = names_of(entry);
  entry.source.list_file = write("two.tsv", "a_b.tar\thttp://h/y\na b.tar\thttp://h/x\n");
  EXPECT_EQ(names_of(entry), (Strings{"a_b.tar", alone.at(0)}));
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

TEST(ListFiles, TheHubsAddressesAreAskedForAtTheHubThatIsSet) {
  ::setenv("MICRODIT_HUB", "http://127.0.0.1:9/", 1);
  const auto files = list_files(
      entry_of({"hf://datasets/org/name/a b.tgz", "hf://datasets/org/name@v1.0/deep/{1..2}.tar"}), kNoHub);
  EXPECT_EQ(files.at(0).url, "http://127.0.0.1:9/datasets/org/name/resolve/main/a%20b.tgz");
  EXPECT_EQ(files.at(0).inputs["address"], "hf://datasets/org/name/a b.tgz");
  EXPECT_EQ(files.at(2).url, "http://127.0.0.1:9/datasets/org/name/resolve/v1.0/deep/2.tar");
  EXPECT_EQ(files.at(2).name, "2.tar");
  ::unsetenv("MICRODIT_HUB");
  for (const char* bad : {"hf://datasets/org/name", "hf://datasets/org/name/", "hf://models/org/name/x",
                          "hf://datasets//name/x", "hf://datasets/../../x/y"})
    EXPECT_THROW(list_files(entry_of({bad}), kNoHub), core::UserError) << bad;
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
  EXPECT_EQ(names_of(entry), (Strings{"a.tar", "b.tar", "deep_er-" + mark("deep/er/") + "_c.tar"}));
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

}  // namespace
}  // namespace microdit::ingest

// Sources: ranges, names, schemes, lists, the small subset.
#include "ingest/sources.h"

#include <cstdlib>

#include "core/error.h"
#include "tar_writer.h"

namespace microdit::ingest {
namespace {

CatalogueEntry entry_of(std::vector<std::string> urls) {
  CatalogueEntry entry;
  entry.name = "t";
  entry.source.urls = std::move(urls);
  return entry;
}

std::vector<std::string> names_of(const CatalogueEntry& entry) {
  std::vector<std::string> names;
  for (const RawFile& file : list_files(entry)) names.push_back(file.name);
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
      {"two files", "a.tar"});
  expect_error<core::UserError>([] { names_of(entry_of({"ftp://h/a.tar"})); },
                                {"ftp://h/a.tar", "only http"});
  expect_error<core::UserError>([] { names_of(entry_of({"file://d/a.tar"})); }, {"absolute"});
  expect_error<core::UserError>([] { names_of(entry_of({"http://h/"})); }, {"names no file"});
}

TEST(ListFiles, KnownDigestsBelongToFiles) {
  CatalogueEntry entry = entry_of({"http://h/a.tar"});
  entry.source.sha256["a.tar"] = std::string(64, 'a');
  EXPECT_EQ(list_files(entry)[0].sha256, std::string(64, 'a'));
  entry.source.sha256["b.tar"] = std::string(64, 'b');
  expect_error<core::UserError>([&] { list_files(entry); }, {"b.tar"});
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
  const auto files = list_files(entry);
  EXPECT_EQ(files.at(1).url, "https://hub.example/datasets/org/name/resolve/v1/data/a-1.tar");
  EXPECT_EQ(files.at(1).name, "data_a-1.tar");
  entry.source.hub = "name";
  EXPECT_THROW(list_files(entry), core::UserError);
  ::unsetenv("MICRODIT_HUB");
}

using ListFile = InFolder;
TEST_F(ListFile, TabSeparatedAfterAHeader) {
  CatalogueEntry entry;
  entry.source.list_file =
      write("list.tsv", "file_name\tcdn_link\na.tar\thttp://h/x?a=1\r\n\nb.tar\thttp://h/y\n");
  EXPECT_EQ(names_of(entry), (Strings{"a.tar", "b.tar"}));
  entry.source.list_file = write("bad.tsv", "h\tl\na.tar http://h/x\n");
  expect_error<core::UserError>([&] { names_of(entry); }, {"bad.tsv:2", "tab"});
  entry.source.list_file = (folder_ / "none.tsv").string();
  expect_error<core::UserError>([&] { names_of(entry); }, {"none.tsv"});
}

}  // namespace
}  // namespace microdit::ingest

// Catalogue entries: the shipped ones load, wrong ones name file, key and remedy.
#include "ingest/catalogue.h"

#include <cstdlib>

#include "core/error.h"
#include "tar_writer.h"

namespace microdit::ingest {
namespace {

class Catalogue : public InFolder {
 protected:
  void expect_wrong(const std::string& yaml, std::initializer_list<const char*> parts) const {
    const auto file = write("entry.yaml", yaml);
    expect_error<core::UserError>([&] { core::load<CatalogueEntry>(file); }, parts);
  }
  const std::string good_ = "name: t\nsource: {urls: ['http://h/a.tar']}\n";
};

TEST_F(Catalogue, ShippedEntriesLoad) {
  const std::filesystem::path folder = std::filesystem::path(MICRODIT_SOURCE_DIR) / "configs/datasets";
  int entries = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    const auto entry = core::load<CatalogueEntry>(file.path());
    EXPECT_EQ(entry.name, file.path().stem().string());
    ++entries;
  }
  EXPECT_GE(entries, 2);
  const auto emoji = core::load<CatalogueEntry>(folder / "emoji.yaml");
  EXPECT_EQ(emoji.caption_sources(), (std::vector<std::string>{"name", "name_and_keywords"}));
  EXPECT_EQ(emoji.latents.sizes, (std::vector<std::int64_t>{64, 128}));
}

TEST_F(Catalogue, WrongOnesAreNamed) {
  expect_wrong("source: {urls: ['http://h/a.tar']}\n", {"entry.yaml", "name"});
  expect_wrong("name: a/b\nsource: {urls: ['http://h/a.tar']}\n", {"entry.yaml", "a/b"});
  expect_wrong("name: t\n", {"entry.yaml", "exactly one of hub, urls and list_file"});
  expect_wrong("name: t\nsource: {hub: o/n, urls: ['http://h/a.tar'], pattern: [a]}\n", {"exactly one"});
  expect_wrong(good_ + "archve: tar\n", {"entry.yaml:3", "archve", "archive"});
  expect_wrong(good_ + "archive: rar\n", {"entry.yaml:3", "archive", "rar"});
  expect_wrong(good_ + "record: {caption: {name: 'xml:title'}}\n", {"xml:title"});
  expect_wrong(good_ + "captions: {which: [other]}\n", {"other"});
  expect_wrong(good_ + "splits: {held_out: 1.5}\n", {"held_out", "1.5"});
  expect_wrong(good_ + "splits: {group: base}\n", {"json:<key>"});
  expect_wrong(good_ + "latents: {sizes: [128, 64]}\n", {"sizes", "ascend"});
  expect_wrong(good_ + "latents: {codec_latent: median}\n", {"codec_latent", "median"});
  expect_wrong(good_ + "source: {}\n", {"source"});
}

TEST_F(Catalogue, TheSmallSubsetHasItsOwnFolders) {
  CatalogueEntry entry;
  entry.name = "t";
  EXPECT_EQ(entry.raw_folder().filename(), "t");
  entry.subset = "small";
  EXPECT_EQ(entry.samples_folder().filename(), "t-small");
}

}  // namespace
}  // namespace microdit::ingest

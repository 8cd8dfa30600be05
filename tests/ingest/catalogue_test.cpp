// Catalogue entries: the shipped ones load, wrong ones name file, key and remedy.
#include "ingest/catalogue.h"

#include <cstdlib>
#include <map>
#include <set>

#include "core/error.h"
#include "encoders/image_codec.h"
#include "ingest/recipe.h"
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
    const std::string stem = file.path().stem().string();
    // Another recipe for a dataset that is there is an entry of that dataset's name.
    EXPECT_TRUE(entry.name == stem || stem.starts_with(entry.name + "_")) << stem << ": " << entry.name;
    ++entries;
  }
  EXPECT_GE(entries, 2);
  const auto cc12m = core::load<CatalogueEntry>(folder / "cc12m.yaml");
  EXPECT_EQ(cc12m.captions.clean, "reference");  // as the original, which keeps what cleans to nothing
  EXPECT_EQ(cc12m.captions.empty, "keep");
  const auto emoji = core::load<CatalogueEntry>(folder / "emoji.yaml");
  EXPECT_EQ(emoji.caption_sources(), (std::vector<std::string>{"name", "name_and_keywords"}));
}

/// Folder under weights/ -> the entry that fills it.
std::map<std::string, std::string> shipped_weights() {
  std::map<std::string, std::string> found;
  const std::filesystem::path folder = std::filesystem::path(MICRODIT_SOURCE_DIR) / "configs/weights";
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    const auto entry = core::load<CatalogueEntry>(file.path());
    EXPECT_TRUE(entry.is_weights()) << file.path();
    if (entry.source.hub.empty()) continue;  // what score measures with: no recipe's
    EXPECT_TRUE(entry.source.hub_of_models) << file.path();
    EXPECT_TRUE(found.emplace(entry.weights_folder().string(), file.path().filename().string()).second);
  }
  return found;
}

TEST_F(Catalogue, ShippedRecipesUseShippedWeights) {
  const std::filesystem::path source = MICRODIT_SOURCE_DIR;
  ::setenv("MICRODIT_DATA", "/data", 1);
  const auto weights = shipped_weights();
  EXPECT_EQ(weights.size(), 5u);
  std::set<std::string> used;
  for (const auto& file : std::filesystem::directory_iterator(source / "configs/latents")) {
    const Recipe recipe = load_recipe("t", file.path());
    EXPECT_EQ(recipe.name, file.path().stem().string());
    for (const std::string& place : {recipe.images.codec, recipe.text.encoder}) {
      // Fetched, in the repository, made by a stage of the educational chain, or nothing at all.
      EXPECT_TRUE(weights.contains(place) || place.ends_with("assets/emoji_codec") ||
                  place == "runs/emoji_ddpm_codec/codec" || place == "/data/weights/emoji_tokens" ||
                  place == "none" || encoders::pixel_codec(place))
          << file.path() << ": " << place;
      used.insert(place);
    }
  }
  for (const auto& [place, entry] : weights) EXPECT_TRUE(used.contains(place)) << entry;
  ::unsetenv("MICRODIT_DATA");
}

TEST_F(Catalogue, WeightsAreFilesAlone) {
  const std::string good = "name: t\nkind: weights\nsource: {hub: a/b, pattern: [x]}\n";
  const auto entry = core::load<CatalogueEntry>(write("entry.yaml", good));
  EXPECT_EQ(entry.archive, "none");
  EXPECT_EQ(entry.weights_folder().filename(), "t");
  EXPECT_EQ(entry.raw_folder().parent_path(), entry.weights_folder().parent_path());
  for (const char* key :
       {"archive: none", "subset: all", "keep_raw: true", "captions: {clean: none}", "recipe: x"})
    expect_wrong(good + key + "\n", {"entry.yaml", "is of data sets"});
  EXPECT_NO_THROW(core::load<CatalogueEntry>(write("entry.yaml", good), {"device=cpu", "task=0/2"}));
  EXPECT_FALSE(core::load<CatalogueEntry>(write("entry.yaml", good_)).source.hub_of_models);
}

TEST_F(Catalogue, ShippedEntriesNameShippedRecipes) {
  const std::filesystem::path source = MICRODIT_SOURCE_DIR;
  ::setenv("MICRODIT_DATA", "/data", 1);
  for (const auto& file : std::filesystem::directory_iterator(source / "configs/datasets")) {
    const auto entry = core::load<CatalogueEntry>(file.path());
    const Recipe recipe = load_recipe(entry.name, source / entry.recipe);
    EXPECT_EQ(recipe.name, std::filesystem::path(entry.recipe).stem().string());
  }
  ::unsetenv("MICRODIT_DATA");
  EXPECT_EQ(load_recipe("emoji", source / "configs/latents/emoji.yaml").images.sizes,
            (std::vector<std::int64_t>{64, 128}));
}

TEST_F(Catalogue, WrongRecipesAreNamed) {
  const auto wrong = [&](const std::string& text, std::initializer_list<const char*> parts) {
    const auto file = write("recipe.yaml", text);
    expect_error<core::UserError>([&] { load_recipe("t", file); }, parts);
  };
  const std::string good = "name: r\nimages: {codec: c, sizes: [8]}\ntext: {encoder: t}\n";
  EXPECT_EQ(load_recipe("t", write("recipe.yaml", good)).text.encoder, "t");
  wrong("name: a/b\nimages: {codec: c}\ntext: {encoder: t}\n", {"recipe.yaml", "a/b"});
  wrong("name: r\nimages: {sizes: [8]}\ntext: {encoder: t}\n", {"recipe.yaml", "codec"});
  wrong("name: r\nimages: {codec: c, sizes: [128, 64]}\ntext: {encoder: t}\n", {"sizes", "ascend"});
  wrong("name: r\nimages: {codec: c, latent: median}\ntext: {encoder: t}\n", {"latent", "median"});
  wrong("name: r\nimages: {codec: c}\ntext: {encoder: t, int8: true, tokens_only: true}\n",
        {"int8", "choose one"});
  wrong(good + "latents: {}\n", {"recipe.yaml:4", "latents"});
  expect_error<core::UserError>([] { load_recipe("t", ""); }, {"dataset t", "recipe=configs/latents"});
  expect_error<core::UserError>([] { load_recipe("t", "nowhere.yaml"); }, {"nowhere.yaml", "no such file"});
}

TEST_F(Catalogue, WrongOnesAreNamed) {
  expect_wrong("source: {urls: ['http://h/a.tar']}\n", {"entry.yaml", "name"});
  expect_wrong("name: a/b\nsource: {urls: ['http://h/a.tar']}\n", {"entry.yaml", "a/b"});
  expect_wrong("name: t\n", {"entry.yaml", "exactly one of hub, urls, list_file and folder"});
  expect_wrong("name: t\nsource: {hub: o/n, urls: ['http://h/a.tar'], pattern: [a]}\n", {"exactly one"});
  expect_wrong(good_ + "archve: tar\n", {"entry.yaml:3", "archve", "archive"});
  expect_wrong(good_ + "archive: rar\n", {"entry.yaml:3", "archive", "rar"});
  expect_wrong(good_ + "record: {caption: {name: 'xml:title'}}\n", {"xml:title"});
  expect_wrong(good_ + "captions: {which: [other]}\n", {"other"});
  expect_wrong(good_ + "captions: {clean: true}\n",  // of older entries
               {"entry.yaml:3", "captions.clean", "'true'", "none, reference, gentle"});
  expect_wrong(good_ + "splits: {held_out: 1.5}\n", {"held_out", "1.5"});
  expect_wrong(good_ + "splits: {group: base}\n", {"json:<key>"});
  expect_wrong(good_ + "latents: {sizes: [64]}\n", {"entry.yaml:3", "latents"});
  expect_wrong(good_ + "part: pictures\n", {"part", "pictures"});
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

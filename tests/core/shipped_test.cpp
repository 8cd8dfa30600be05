// configs/ and assets/ are found from any folder.
#include "core/shipped.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/config.h"
#include "core/error.h"
#include "scratch_folder.h"

namespace microdit::core {
namespace {

namespace fs = std::filesystem;

/// Elsewhere, while it lives.
class Elsewhere {
 public:
  explicit Elsewhere(const fs::path& folder) : before_(fs::current_path()) { fs::current_path(folder); }
  ~Elsewhere() { fs::current_path(before_); }
  Elsewhere(const Elsewhere&) = delete;

 private:
  fs::path before_;
};

struct Settings {
  std::string name;
  std::int64_t size = 0;
  void fields(Fields& f) {
    f.field("name", name);
    f.field("size", size);
  }
};

TEST(Shipped, FromAnyFolder) {
  const ScratchFolder scratch;
  const Elsewhere elsewhere(scratch.path());
  const fs::path file = "configs/latents/emoji.yaml";
  EXPECT_TRUE(fs::equivalent(shipped(file), fs::path(MICRODIT_SOURCE_DIR) / file));
  EXPECT_TRUE(fs::is_directory(shipped("assets/emoji_codec")));
  for (const char* own :
       {"configs/latents/none.yaml", "tests/CMakeLists.txt", "none", "", "/configs/latents/emoji.yaml"})
    EXPECT_EQ(shipped(own), own);
}

TEST(Shipped, WhatLiesHereIsMeant) {
  const ScratchFolder scratch;
  fs::create_directories(scratch / "configs/latents");
  scratch.write("configs/latents/emoji.yaml", "name: mine\n");
  const Elsewhere elsewhere(scratch.path());
  EXPECT_EQ(shipped("configs/latents/emoji.yaml"), "configs/latents/emoji.yaml");
}

TEST(Shipped, ConfigsAndWhatTheyExtend) {
  const ScratchFolder scratch;
  scratch.write("mine.yaml", "extends: configs/datasets/fashion_mnist.yaml\nname: mine\n");
  const Elsewhere elsewhere(scratch.path());
  const std::vector<std::string> others = {"source", "archive", "record", "splits", "recipe"};
  EXPECT_EQ(load<Settings>(ConfigTree::load("configs/datasets/fashion_mnist.yaml"), others).name,
            "fashion_mnist");
  EXPECT_EQ(load<Settings>(ConfigTree::load("mine.yaml"), others).name, "mine");
  scratch.write("wrong.yaml", "extends: configs/datasets/none.yaml\n");
  EXPECT_NE(message_of<UserError>([] { ConfigTree::load("wrong.yaml"); }).find("there is no file"),
            std::string::npos);
}

}  // namespace
}  // namespace microdit::core

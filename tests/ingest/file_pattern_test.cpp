// Patterns over the paths of a source.
#include "ingest/file_pattern.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "tar_writer.h"

namespace microdit::ingest {
namespace {

using Strings = std::vector<std::string>;

TEST(FilePattern, GlobsKnowFolders) {
  for (const auto& [pattern, path] :
       std::vector<std::pair<const char*, const char*>>{{"*.tar", "a.tar"},
                                                        {"**/*.tar", "a.tar"},
                                                        {"**/*.tar", "x/y/a.tar"},
                                                        {"d/**/a", "d/a"},
                                                        {"d/**/a", "d/e/f/a"},
                                                        {".*", ".a"},
                                                        {"**/.a/*", "x/.a/b"},
                                                        {"__MACOSX/*", "__MACOSX/a"},
                                                        {".a/**/b", ".a/c/b"},
                                                        {"d?/[a-c].x", "d1/b.x"}}) {
    EXPECT_TRUE(matches(pattern, path)) << pattern << " " << path;
  }
  for (const auto& [pattern, path] :
       std::vector<std::pair<const char*, const char*>>{{"*.tar", "x/a.tar"},
                                                        {"*", "a/b"},
                                                        {"d/*", "d"},
                                                        {"a", "a/b"},
                                                        {"a/b", "a"},
                                                        {"**/a", "x/b"},
                                                        {"*", ".a"},
                                                        {"?a", ".a"},
                                                        {"[.]a", ".a"},
                                                        {"**/*", "x/.a"},
                                                        {"**/*", ".x/a"},
                                                        {"*/a", ".x/a"},
                                                        {"**/*", "x/__MACOSX/a"},
                                                        {"*/a", "__MACOSX/a"},
                                                        {"[a-c].x", "d.x"}}) {
    EXPECT_FALSE(matches(pattern, path)) << pattern << " " << path;
  }
  const FilePatterns patterns({"data/train/{00..01}.tar", "data/train/x*.tar"}, "k");
  EXPECT_EQ(patterns.folder(), "data/train");
  EXPECT_FALSE(patterns.goes_deeper());
  EXPECT_TRUE(FilePatterns({"data/a.tar", "data/b/c.tar"}, "k").goes_deeper());
  EXPECT_EQ(FilePatterns({"data/a.tar", "other/c.tar"}, "k").folder(), "");
}

TEST(FilePattern, AlternativesAreTriedInTheirOrder) {
  const FilePatterns patterns({"v/[01].a|v/0.b", "v/x*|v/y", "v/none|"}, "k");
  EXPECT_EQ(patterns.folder(), "v");
  EXPECT_FALSE(patterns.goes_deeper());
  EXPECT_EQ(patterns.choose({"v/0.a", "v/0.b", "v/1.a", "v/y", "v/z"}, "here"),
            (std::vector<std::string>{"v/0.a", "v/1.a", "v/y"}));
  EXPECT_EQ(FilePatterns({"v/a|", "v/b"}, "k").choose({"v/a", "v/b"}, "here").size(), 2u);
  EXPECT_TRUE(FilePatterns({"a|b/c"}, "k").goes_deeper());
  expect_error<core::UserError>(
      [&] {
        patterns.choose({"v/0.a", "v/1.a"}, "here");
      },
      {"k", "v/x*|v/y", "no such file in here"});
  for (const char* wrong : {"|a", "a|../b", "a|/b", "a{0..1}|b"})
    expect_error<core::UserError>([&] { FilePatterns({wrong}, "k"); }, {"k"});
}

}  // namespace
}  // namespace microdit::ingest

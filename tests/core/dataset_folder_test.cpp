// Paths as they are typed.
#include "core/dataset_folder.h"

#include <gtest/gtest.h>

namespace microdit::core {
namespace {

namespace fs = std::filesystem;

TEST(WholePath, HasItsNameAtTheEnd) {
  const fs::path here = fs::current_path();
  for (const char* typed : {"a", "a/", "a//", "a/.", "./a/", "b/../a/", "a/b/.."})
    EXPECT_EQ(whole_path(typed), here / "a") << typed;
  EXPECT_EQ(whole_path("a/").filename(), "a");
  EXPECT_EQ(whole_path("a/b/").parent_path(), here / "a");
}

TEST(WholePath, OfFoldersWithoutAName) {
  const fs::path here = fs::current_path();
  for (const char* typed : {".", "./", "a/.."}) EXPECT_EQ(whole_path(typed), here) << typed;
  EXPECT_EQ(whole_path(".."), here.parent_path());
  EXPECT_EQ(whole_path("/"), "/");
  EXPECT_EQ(whole_path("/a/b/"), "/a/b");
}

}  // namespace
}  // namespace microdit::core

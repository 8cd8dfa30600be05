// Which bytes are UTF-8.
#include "core/utf8.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "core/scratch_folder.h"

namespace microdit::core {
namespace {

using testing::HasSubstr;

TEST(Utf8, FindsTheFirstWrongByte) {
  for (const char* good : {"", "a", "caf\xc3\xa9", "\xe7\x8c\xab", "\xf0\x9f\x90\xb1", "\xef\xbb\xbfx"})
    EXPECT_FALSE(first_invalid_utf8(good)) << good;
  EXPECT_EQ(first_invalid_utf8("caf\xe9"), 3U);
  EXPECT_EQ(first_invalid_utf8("\xc0\xaf"), 0U);          // overlong
  EXPECT_EQ(first_invalid_utf8("a\xed\xa0\x80"), 1U);     // a surrogate
  EXPECT_EQ(first_invalid_utf8("\xf4\x90\x80\x80"), 0U);  // beyond U+10FFFF
  EXPECT_EQ(first_invalid_utf8("a\xe7\x8c"), 1U);         // cut
}

TEST(Utf8, Replaces) {
  EXPECT_EQ(with_valid_utf8("caf\xe9!"), "caf\xef\xbf\xbd!");
  EXPECT_EQ(with_valid_utf8("\xe7\x8c"), "\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(Utf8, CheckNamesThePlace) {
  EXPECT_THAT(message_of<UserError>([] { check_text("caf\xe9", "p.txt:3"); }),
              HasSubstr("p.txt:3 is not UTF-8 (byte 4: 0xe9)"));
  EXPECT_THAT(message_of<UserError>([] {
                check_text({"a\0b", 3}, "--prompt");
              }),
              HasSubstr("zero byte (byte 2)"));
  EXPECT_EQ(marked_encoding("\xff\xfe"
                            "a"),
            "UTF-16");
  EXPECT_EQ(marked_encoding("\xef\xbb\xbf"
                            "a"),
            "");
}

}  // namespace
}  // namespace microdit::core

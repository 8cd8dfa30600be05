// What stands before a text's first character.
#include "tables/byte_source.h"

#include "core/error.h"
#include "core/utf8.h"

namespace microdit::tables {

void skip_mark(ByteReader& in, std::string_view origin) {
  const std::string_view begin = in.at_hand().substr(0, 4);
  if (begin.starts_with("\xef\xbb\xbf")) return in.skip(3);
  if (const std::string_view encoding = core::marked_encoding(begin); !encoding.empty())
    core::user_error("{}: is {}; convert it to UTF-8", origin, encoding);
}

}  // namespace microdit::tables

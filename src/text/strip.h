// White space at the ends of a text.
#pragma once

#include <string_view>

namespace microdit::text {

/// Python's str.strip(): without white space at both ends (a byte order mark is none). Bytes that are no UTF-8 stay.
std::string_view strip(std::string_view text);

}  // namespace microdit::text

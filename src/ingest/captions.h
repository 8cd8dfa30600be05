// The one place where captions are cleaned.
#pragma once

#include <string>
#include <string_view>

namespace microdit::ingest {

/// Lower case (ASCII), "<person>" -> "person", control characters and runs of white space -> one space,
/// stripped. May be empty. `text` is valid UTF-8.
std::string clean_caption(std::string_view text);

/// Without white space at both ends, as Python's str.strip() (so a byte order mark stays): what an uncleaned caption goes
/// through. `text` is valid UTF-8.
std::string strip(std::string_view text);

}  // namespace microdit::ingest

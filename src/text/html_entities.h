// HTML5's named character references, and html.unescape.
#pragma once

#include <string>
#include <string_view>

namespace microdit::text {

struct Entity {
  std::string_view name;    ///< without & and ;
  std::string_view value;   ///< UTF-8, one or two characters
  bool semicolon_optional;  ///< of old HTML: counts without ';' too
};

/// The entity of exactly this name; null when there is none. Source: WHATWG's list of named character references.
const Entity* find_entity(std::string_view name);

/// CPython 3.11's html.unescape: numbers and names, the semicolon optional where the standard lets it be; the longest
/// known beginning of an unknown name counts. One pass: what comes out is not looked at again. A number that Python
/// refuses to read (over 4,300 digits) is U+FFFD.
std::string html_unescape(std::string_view text);

/// The same for every named reference that ends with ';', for numbers of at most 24 characters with ';', and for names of lower
/// case in upper case where that means nothing else (&EACUTE;): ftfy 6.3.1's unescape_html.
std::string unescape_clear_entities(std::string_view text);

}  // namespace microdit::text

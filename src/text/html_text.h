// The text of broken HTML, as BeautifulSoup reads it.
#pragma once

#include <string>
#include <string_view>

namespace microdit::text {

/// BeautifulSoup(text, "html.parser").text of beautifulsoup4 4.11.2 over CPython 3.11.2's html.parser, in linear time. Comments,
/// declarations and what stands in script, style, template, rt and rp are dropped. May hold lone surrogates (&#xD800;).
/// What the original refuses with an exception is defined here: "<![" without a name that it knows, up to the next '>',
/// is text; a number of over 4,300 digits is U+FFFD.
std::string html_text(std::string_view text);

}  // namespace microdit::text

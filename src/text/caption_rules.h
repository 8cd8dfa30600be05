// The passes of micro_diffusion's CaptionProcessor (micro_diffusion/datasets/captions.py), each as a scanner that
// takes linear time: several of the original's regular expressions take quadratic time on hostile text (an address, a file name
// or a code that is tried from each of its characters). Every one changes `text` in place; the regular expression
// that it equals stands above it. \w \d \s \b are Unicode's (character_classes.h). Private to text.
#pragma once

#include <string>
#include <string_view>

namespace microdit::text {

// caption_urls.cpp
/// \b((?:SCHEME:(?:\/{1,3}|[a-zA-Z0-9%])|[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b\/?(?!@))) -> "", where
/// SCHEME is https? (first) or www (second).
void delete_urls(std::string& text);
void delete_www_urls(std::string& text);

// caption_marks.cpp
bool is_cjk(char32_t c);         ///< what delete_cjk deletes
bool is_dash(char32_t c);        ///< what unify_dashes makes '-'
char quote_of(char32_t c);       ///< what unify_quotes makes of it; 0: it stays
bool is_stray_mark(char32_t c);  ///< what blank_punctuation blanks
/// @[\w\d]+\b -> ""
void delete_handles(std::string& text);
/// [\u31c0-\u9fff] -> "", in seven adjacent ranges.
void delete_cjk(std::string& text);
/// A run of dashes of any kind -> "-".
void unify_dashes(std::string& text);
/// [`´«»“”¨] -> '"'; [‘’] -> "'"
void unify_quotes(std::string& text);
/// &quot;? -> ""; &amp -> ""
void delete_quot_and_amp(std::string& text);
/// \\n -> " "
void blank_escaped_newlines(std::string& text);
/// [\"\']{2,} -> '"'; [\.]{2,} -> " "
void collapse_quotes(std::string& text);
void collapse_dots(std::string& text);
/// [#®•©™&@·º½¾¿¡§~\)\(\]\[\}\{\|\\\/\*]{1,} -> " "
void blank_punctuation(std::string& text);
/// \s+\.\s+ -> " "
void blank_lone_dots(std::string& text);
/// More than three of - and _: each -> " ".
void blank_joined_words(std::string& text);
/// \b\s+\:\s+ -> ": "
void tidy_colons(std::string& text);
/// (\D[,\./])\b -> "\1 "
void space_after_punctuation(std::string& text);
/// \s+ -> " "
void collapse_spaces(std::string& text);
/// ^[\"\']([\w\W]+)[\"\']$ -> \1; then one of '_,-:; at the start and one of '_,-:+ at the end; then ^\.\S+$ -> "".
void trim_ends(std::string& text);

// caption_numbers.cpp
/// \d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3} -> " "
void blank_ip_addresses(std::string& text);
/// \d:\d\d\s+$ -> ""
void delete_final_time(std::string& text);
/// #\d{1,3}\b, then #\d{5,}\b -> ""
void delete_numbered_tags(std::string& text);
/// \b\d{6,}\b -> ""
void delete_long_numbers(std::string& text);
/// \b[a-zA-Z]{1,3}\d{3,15}\b, \b[a-zA-Z]+\d+[a-zA-Z]+\b, \b\d+[a-zA-Z]+\d+\b -> ""
void delete_codes(std::string& text);
/// \b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b -> " "
void blank_mixed_codes(std::string& text);
/// \b\d+\.?\d*[xх×]\d+\.?\d*\b -> ""
void delete_sizes(std::string& text);

// caption_phrases.cpp
/// [\S]+\.(?:png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4) -> ""
void delete_file_names(std::string& text);
/// (worldwide\s+)?(free\s+)?shipping -> ""
void delete_shipping(std::string& text);
/// (free\s)?download(\sfree)? -> ""
void delete_download(std::string& text);
/// \bclick\b\s(?:for|on)\s\w+ -> ""
void delete_click(std::string& text);
/// \b(?:png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4)(\simage[s]?)? -> ""
void delete_extensions(std::string& text);
/// \bpage\s+\d+\b -> ""
void delete_page_numbers(std::string& text);

}  // namespace microdit::text

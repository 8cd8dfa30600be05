// Templates of keys, read once and expanded for every row.
#include "tables/key_template.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/utf8.h"
#include "tables/limits.h"
#include "text/code_points.h"
#include "text/unicode_forms.h"

namespace microdit::tables {
namespace {

constexpr std::size_t kMaxWidth = 64;
constexpr std::size_t kShownBytes = 80;

std::string padded(const std::string& number, std::size_t width) {
  const std::size_t sign = number.starts_with('-') ? 1 : 0;
  if (number.size() >= width) return number;
  return number.substr(0, sign) + std::string(width - number.size(), '0') + number.substr(sign);
}

std::string_view bare(std::string_view text) {
  const std::size_t begin = text.find_first_not_of("./");
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of("./") + 1 - begin);
}

}  // namespace

std::string composed(std::string_view text) {
  if (text::is_ascii(text) || core::first_invalid_utf8(text)) return std::string(text);
  return text::to_utf8(text::nfc(text::to_utf32(text)));
}

PathParts path_parts(std::string_view path) {
  while (path.starts_with("./")) path.remove_prefix(2);
  PathParts parts{.path = path, .dir = {}, .basename = path, .stem = {}};
  if (const auto slash = path.rfind('/'); slash != path.npos) {
    parts.dir = path.substr(0, slash);
    parts.basename = path.substr(slash + 1);
  }
  const auto dot = parts.basename.rfind('.');
  parts.stem = dot == parts.basename.npos || dot == 0 ? parts.basename : parts.basename.substr(0, dot);
  return parts;
}

void KeyTemplate::wrong(std::string_view where, std::size_t place, const std::string& what) const {
  core::user_error("{}: '{}' is no key template, at character {}: {}; write for example {{id:012}}.jpg",
                   where, text_, place + 1, what);
}

KeyTemplate::KeyTemplate(std::string_view text, std::string_view where) : text_(text) {
  core::check_text(text, std::string(where));
  std::string literal;
  for (std::size_t i = 0; i < text_.size();) {
    const char c = text_[i];
    const bool twice = i + 1 < text_.size() && text_[i + 1] == c;
    if ((c == '{' || c == '}') && twice) {
      literal += c;
      i += 2;
    } else if (c == '{') {
      i = field(i, std::move(literal), where);
      literal.clear();
    } else if (c == '}') {
      wrong(where, i, "a '}' that closes nothing (a brace itself is written '}}')");
    } else {
      literal += c;
      ++i;
    }
  }
  if (names_.empty()) wrong(where, 0, "it names no column, so that all rows would have one key");
  if (!literal.empty()) pieces_.push_back({.literal = std::move(literal)});
}

std::size_t KeyTemplate::field(std::size_t begin, std::string literal, std::string_view where) {
  const std::size_t end = text_.find('}', begin);
  if (end == text_.npos) wrong(where, begin, "this '{' is not closed");
  std::string_view inside = std::string_view(text_).substr(begin + 1, end - begin - 1);
  Piece piece{.literal = std::move(literal)};
  const auto mark = inside.find_last_of(":|");
  if (mark != inside.npos) {
    const std::string_view how = inside.substr(mark + 1);
    if (inside[mark] == '|') {
      constexpr std::string_view kNames[] = {"", "relative", "basename", "stem", "dir", "bare"};
      const auto* const found = std::find(std::begin(kNames) + 1, std::end(kNames), how);
      if (found == std::end(kNames))
        wrong(where, begin + 2 + mark,
              fmt::format("'{}' is none of relative, basename, stem, dir, bare", how));
      piece.path = static_cast<Path>(found - std::begin(kNames));
    } else {
      const auto [stop, error] = std::from_chars(how.data(), how.data() + how.size(), piece.width);
      if (error != std::errc() || stop != how.data() + how.size() || how.size() < 2 || how[0] != '0' ||
          piece.width == 0 || piece.width > kMaxWidth)
        wrong(where, begin + 2 + mark, fmt::format("'{}' is no width such as 06 (of 64 at most)", how));
    }
    inside = inside.substr(0, mark);
  }
  if (inside.empty()) wrong(where, begin, "a field without a name");
  if (inside.find('{') != inside.npos) wrong(where, begin, "a '{' within a field");
  auto found = std::find(names_.begin(), names_.end(), inside);
  if (found == names_.end()) found = names_.insert(names_.end(), std::string(inside));
  piece.name = static_cast<int>(found - names_.begin());
  pieces_.push_back(std::move(piece));
  return end + 1;
}

std::string KeyTemplate::expand(std::span<const Value> values, std::string& key) const {
  key.clear();
  for (const Piece& piece : pieces_) {
    key += piece.literal;
    if (piece.name < 0) continue;
    const Value& value = values[static_cast<std::size_t>(piece.name)];
    const std::string& name = names_[static_cast<std::size_t>(piece.name)];
    if (is_null(value)) return fmt::format("`{}` is absent", name);
    if (piece.width > 0) {
      const std::optional<std::string> number = whole_number(value);
      if (!number)
        return fmt::format("`{}` is no whole number: '{}'", name,
                           core::shortened(as_text(value), kShownBytes));
      key += padded(*number, piece.width);
    } else if (piece.path != Path::none) {
      const std::string text = as_text(value);
      const PathParts parts = path_parts(text);
      key += piece.path == Path::relative   ? parts.path
             : piece.path == Path::basename ? parts.basename
             : piece.path == Path::stem     ? parts.stem
             : piece.path == Path::dir      ? parts.dir
                                            : bare(text);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      key += *text;
    } else {
      key += as_text(value);
    }
    if (key.size() > limits::kKeyBytes)
      return fmt::format("it would be longer than {} bytes", limits::kKeyBytes);
  }
  if (key.empty()) return "it would be empty";
  // Composed, whatever form either side was written in: libarchive composes names of pax tars and zips, and no others.
  key = composed(key);
  if (key.size() > limits::kKeyBytes)
    return fmt::format("it would be longer than {} bytes", limits::kKeyBytes);
  return "";
}

PathTemplate::PathTemplate(std::string_view text, std::string_view where) : template_(text, where) {
  constexpr std::string_view kFields[] = {"path",     "dir",  "parent", "top",
                                          "basename", "stem", "root",   "archive"};
  for (const std::string& name : template_.names())
    if (std::ranges::find(kFields, name) == std::end(kFields))
      core::user_error(
          "{}: '{}': a member has {{path}}, {{dir}}, {{parent}}, {{top}}, {{basename}}, {{stem}}, {{root}} "
          "and {{archive}}, no {{{}}}",
          where, text, name);
}

std::string PathTemplate::key(std::string_view member, std::string_view archive) const {
  const PathParts parts = path_parts(member);
  std::vector<Value> values;
  for (const std::string& name : template_.names())
    values.emplace_back(std::string(name == "path"       ? parts.path
                                    : name == "dir"      ? parts.dir
                                    : name == "parent"   ? parts.dir.substr(parts.dir.rfind('/') + 1)
                                    : name == "top"      ? parts.dir.substr(0, parts.dir.find('/'))
                                    : name == "basename" ? parts.basename
                                    : name == "stem"     ? parts.stem
                                    : name == "root"     ? parts.basename.substr(0, parts.basename.find('.'))
                                                         : archive));
  std::string key;
  return template_.expand(values, key).empty() ? key : "";
}

}  // namespace microdit::tables

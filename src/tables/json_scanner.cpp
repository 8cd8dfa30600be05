// Follows brackets and quotes.
#include "tables/json_scanner.h"

#include <algorithm>

#include "core/error.h"
#include "core/json.h"
#include "tables/limits.h"

namespace microdit::tables::detail {
namespace {

bool is_blank(int c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

void JsonScanner::wrong(std::string_view what) const {
  core::user_error("{}: not the JSON that was expected, at byte {}: {}", origin_, in_.offset(), what);
}

int JsonScanner::next() {
  while (is_blank(in_.peek())) in_.get();
  return in_.peek();
}

void JsonScanner::expect(char c, std::string_view what) {
  if (next() == ByteReader::kEnd) wrong("the document is cut short; fetch it again");
  if (in_.get() != c) wrong(fmt::format("'{}' is missing ({})", c, what));
}

int JsonScanner::take(std::string* into) {
  const int c = in_.get();
  if (c == ByteReader::kEnd) wrong("the document is cut short; fetch it again");
  if (into != nullptr) {
    const char byte = static_cast<char>(c);
    append(*into, {&byte, 1});
  }
  return c;
}

void JsonScanner::text(std::string* into) {
  take(into);
  for (bool inside = true; inside;) {
    const std::string_view bytes = in_.at_hand();
    const auto* const end =
        std::find_if(bytes.begin(), bytes.end(), [](char c) { return c == '"' || c == '\\'; });
    const auto plain = static_cast<std::size_t>(end - bytes.begin());
    if (into != nullptr) append(*into, bytes.substr(0, plain));
    in_.skip(plain);
    if (!bytes.empty() && plain == bytes.size()) continue;
    inside = take(into) != '"';
    if (inside) take(into);  // what is escaped
  }
}

void JsonScanner::append(std::string& into, std::string_view bytes) const {
  if (into.size() + bytes.size() > limits::kRowBytes)
    wrong(fmt::format("a row of more than {} bytes", limits::kRowBytes));
  into += bytes;
}

void JsonScanner::nested(std::string* into) {
  std::string open;  // the brackets that are to come
  do {
    if (in_.peek() == '"') {
      text(into);
      continue;
    }
    const int c = take(into);
    if (c == '{' || c == '[') {
      if (open.size() == limits::kJsonDepth)
        wrong(fmt::format("nested deeper than {} levels", limits::kJsonDepth));
      open.push_back(c == '{' ? '}' : ']');
    } else if (c == '}' || c == ']') {
      if (c != open.back())
        wrong(fmt::format("'{}' where '{}' is to come", static_cast<char>(c), open.back()));
      open.pop_back();
    }
  } while (!open.empty());
}

void JsonScanner::value(std::string* into) {
  const int c = next();
  if (c == '"') return text(into);
  if (c == '{' || c == '[') return nested(into);
  int taken = 0;
  for (int d = c; d != ByteReader::kEnd && !is_blank(d) && d != ',' && d != ']' && d != '}' && d != ':';
       d = in_.peek(), ++taken)
    take(into);
  if (taken == 0) wrong("a value is missing");
}

std::string JsonScanner::name() {
  if (next() != '"') wrong("a member's name is missing");
  std::string raw;
  text(&raw);
  expect(':', "behind a member's name");
  return core::parse_foreign_json(raw, origin_).get<std::string>();
}

}  // namespace microdit::tables::detail

// What is done with names that strangers gave.
#include "ingest/member_name.h"

#include <algorithm>

#include "core/utf8.h"
#include "ingest/limits.h"

namespace microdit::ingest {

/// A name that is not used as such, for messages: short, without control characters, '/' for '\\'.
std::string printable(std::string_view name) {
  std::string text;
  for (const char c : name.substr(0, 256))
    text += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c == '\\' ? '/' : c;
  if (core::first_invalid_utf8(text))
    std::ranges::replace_if(
        text, [](char c) { return c & 0x80; }, '?');
  return text.empty() ? "(no name)" : text;
}

/// The member's name as a relative path, "./" removed; nothing when it would leave its folder or is no text.
std::optional<std::string> safe_name(std::string_view name) {
  if (name.empty() || name[0] == '/' || name[0] == '\\' || name.size() > limits::kMemberNameBytes ||
      core::first_invalid_utf8(name))
    return std::nullopt;
  std::string safe;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find_first_of("/\\", begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part == "..") return std::nullopt;
    if (!part.empty() && part != ".") safe.append(safe.empty() ? "" : "/").append(part);
    begin = end + 1;
  }
  return safe;
}

/// An unsafe name's components, whatever they are separated by.
std::string slashed(std::string_view name) {
  std::string text(name);
  std::ranges::replace(text, '\\', '/');
  return text;
}

/// What file managers of a Mac add, and hidden files: beside every picture there may be one with its name.
bool is_passed_over(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  return name.substr(slash == std::string_view::npos ? 0 : slash + 1).starts_with('.') ||
         name.starts_with("__MACOSX/") || name.find("/__MACOSX/") != std::string_view::npos;
}

}  // namespace microdit::ingest

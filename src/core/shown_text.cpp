// Escapes and omissions for log lines.
#include "core/shown_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace microdit::core {
namespace {

constexpr std::string_view kBlank = " \t\r\n";
constexpr std::string_view kQuoting = "'\"`,;)]}>";  ///< what may follow an address in a message

/// One address, from behind its "://" to the next blank.
std::string without_secrets_of_one(std::string_view rest) {
  const std::size_t end_of_host = std::min(rest.find_first_of("/?#\\"), rest.size());
  const std::size_t at = rest.substr(0, end_of_host).rfind('@');
  if (at != std::string_view::npos) rest.remove_prefix(at + 1);
  const std::size_t query = rest.find_first_of("?#");
  if (query == std::string_view::npos) return std::string(rest);
  const std::size_t last = rest.find_last_not_of(kQuoting);
  return fmt::format("{}{}...{}", rest.substr(0, query), rest[query], rest.substr(std::max(last, query) + 1));
}

}  // namespace

std::string without_controls(std::string_view text) {
  std::string shown;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool c1 = byte == 0xc2 && i + 1 < text.size() && (text[i + 1] & 0xe0) == 0x80;
    if (byte == '\n') {
      shown += text.substr(i + 1).starts_with("  ") ? "\n" : "\n  ";
    } else if (c1) {
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[++i]));
    } else if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
      shown += fmt::format("\\x{:02x}", byte);
    } else {
      shown += text[i];
    }
  }
  return shown;
}

std::string without_secrets(std::string_view text) {
  constexpr std::string_view kMark = "://";
  std::string shown;
  for (;;) {
    const std::size_t mark = std::min(text.find(kMark), text.size());
    shown += text.substr(0, std::min(mark + kMark.size(), text.size()));
    if (mark == text.size()) return shown;
    text.remove_prefix(mark + kMark.size());
    const std::size_t end = std::min(text.find_first_of(kBlank), text.size());
    shown += without_secrets_of_one(text.substr(0, end));
    text.remove_prefix(end);
  }
}

}  // namespace microdit::core

// Words of a configuration as numbers and truth values.
#include <charconv>
#include <cmath>
#include <limits>

#include "core/config_node.h"

namespace microdit::core::detail {

using Node = ConfigTree::Node;
using Kind = Node::Kind;

std::optional<std::string> without_separators(std::string_view text) {
  std::string digits;
  const auto is_digit = [&](std::size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      digits += text[i];
    } else if (i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) {
      return std::nullopt;
    }
  }
  if (digits.starts_with('+') && !digits.starts_with("+-")) digits.erase(0, 1);  // from_chars knows only '-'
  return digits;
}

std::optional<double> number_of(const Node& node) {
  if (node.kind != Kind::scalar || node.quoted) return std::nullopt;
  const std::string& raw = node.text;
  if (raw == ".inf" || raw == "+.inf") return std::numeric_limits<double>::infinity();
  if (raw == "-.inf") return -std::numeric_limits<double>::infinity();
  const auto text = without_separators(raw);
  if (!text || text->find_first_not_of("0123456789.eE+-") != text->npos) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> integer_of(const Node& node) {
  const auto value = number_of(node);
  if (!value) return std::nullopt;
  const std::string text = *without_separators(node.text);
  std::int64_t exact = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exact);
  if (error == std::errc() && end == text.data() + text.size()) return exact;
  // 1e3 and 2.0 are whole numbers too, as long as a double holds them exactly.
  if (!(std::abs(*value) <= 0x1p53) || *value != std::floor(*value)) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

std::optional<bool> boolean_of(const Node& node) {
  if (node.kind != Kind::scalar || node.quoted) return std::nullopt;
  for (const char* yes : {"true", "True", "TRUE", "yes", "on"}) {
    if (node.text == yes) return true;
  }
  for (const char* no : {"false", "False", "FALSE", "no", "off"}) {
    if (node.text == no) return false;
  }
  return std::nullopt;
}

}  // namespace microdit::core::detail

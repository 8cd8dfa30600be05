// Cells as numbers, as text and as bytes.
#include "tables/value.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstring>

namespace microdit::tables {
namespace {

enum Tag : char { kNull = 0, kFalse, kTrue, kWhole, kReal, kText };

std::uint64_t zigzag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
std::int64_t from_zigzag(std::uint64_t value) {
  return static_cast<std::int64_t>((value >> 1) ^ (0 - (value & 1)));
}

bool take_cell(std::string_view& bytes, Value& out) {
  if (bytes.empty()) return false;
  const char tag = bytes[0];
  bytes.remove_prefix(1);
  if (tag == kNull) return out = std::monostate(), true;
  if (tag == kFalse || tag == kTrue) return out = tag == kTrue, true;
  if (tag == kReal) {
    double value;
    if (bytes.size() < sizeof value) return false;
    std::memcpy(&value, bytes.data(), sizeof value);
    bytes.remove_prefix(sizeof value);
    return out = value, true;
  }
  if (tag != kWhole && tag != kText) return false;
  const std::optional<std::uint64_t> number = take_number(bytes);
  if (!number) return false;
  if (tag == kWhole) return out = from_zigzag(*number), true;
  if (*number > bytes.size()) return false;
  out = std::string(bytes.substr(0, *number));
  bytes.remove_prefix(*number);
  return true;
}

}  // namespace

std::optional<double> as_number(const Value& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? 1 : 0;
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return static_cast<double>(*whole);
  if (const auto* real = std::get_if<double>(&value)) return *real;
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr || text->empty()) return std::nullopt;
  double number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end != text->data() + text->size() || !std::isfinite(number))
    return std::nullopt;
  return number;
}

std::string as_text(const Value& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *whole);
  if (const auto* real = std::get_if<double>(&value)) {
    // 12.0 is 12, as an identifier that went through a column with gaps is one.
    const bool whole = *real == std::trunc(*real) && std::abs(*real) < 0x1p53;
    return whole ? fmt::format("{}", static_cast<std::int64_t>(*real)) : fmt::format("{}", *real);
  }
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return "";
}

std::optional<std::string> whole_number(const Value& value) {
  if (is_null(value) || std::holds_alternative<bool>(value)) return std::nullopt;
  const std::string text = as_text(value);
  const bool negative = text.starts_with('-');
  std::string_view digits = std::string_view(text).substr(negative ? 1 : 0);
  if (digits.empty() || digits.find_first_not_of("0123456789") != digits.npos) return std::nullopt;
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size() - 1));
  return (negative && digits != "0" ? "-" : "") + std::string(digits);
}

void append_number(std::uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

std::optional<std::uint64_t> take_number(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes[0]);
    bytes.remove_prefix(1);
    if (shift == 63 && byte > 1) return std::nullopt;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return value;
  }
  return std::nullopt;
}

void append_row(std::span<const Value> cells, std::string& out) {
  for (const Value& cell : cells) {
    if (const auto* flag = std::get_if<bool>(&cell)) {
      out.push_back(*flag ? kTrue : kFalse);
    } else if (const auto* whole = std::get_if<std::int64_t>(&cell)) {
      out.push_back(kWhole);
      append_number(zigzag(*whole), out);
    } else if (const auto* real = std::get_if<double>(&cell)) {
      out.push_back(kReal);
      out.append(reinterpret_cast<const char*>(real), sizeof *real);
    } else if (const auto* text = std::get_if<std::string>(&cell)) {
      out.push_back(kText);
      append_number(text->size(), out);
      out += *text;
    } else {
      out.push_back(kNull);
    }
  }
}

bool take_row(std::string_view& bytes, std::size_t columns, Row& out) {
  out.resize(columns);
  for (Value& cell : out)
    if (!take_cell(bytes, cell)) return false;
  return true;
}

}  // namespace microdit::tables

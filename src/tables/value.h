// One cell of a table's row.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace microdit::tables {

/// Nothing (absent, null, NaN, an empty cell), a boolean, a whole number, a number, or text. Whole numbers beyond 64 bits are text
/// of their digits.
using Value = std::variant<std::monostate, bool, std::int64_t, double, std::string>;

/// The cells of one row, in the order of the columns.
using Row = std::vector<Value>;

inline bool is_null(const Value& value) {
  return value.index() == 0;
}

/// What a filter compares: a number as it is, a boolean as 0 or 1, text that is a number as a whole (CSV has no other numbers).
std::optional<double> as_number(const Value& value);

/// The value as text: digits of a whole number, the shortest that reads back as the same number, "true", "false"; "" of nothing.
std::string as_text(const Value& value);

/// The digits, with a sign where negative and without leading zeros, of what is a whole number: one, 12.0, or text of digits.
std::optional<std::string> whole_number(const Value& value);

/// Bytes of a row's cells in a table's file, appended to `out`: each a tag (0 nothing, 1 false, 2 true, 3 whole, 4 number, 5 text),
/// then a zigzag LEB128 number, 8 bytes, or a LEB128 length and the text.
void append_row(std::span<const Value> cells, std::string& out);

/// What append_row wrote: `columns` cells off the front of `bytes`. False when they are not that.
bool take_row(std::string_view& bytes, std::size_t columns, Row& out);

/// An unsigned LEB128 number, and one off the front of `bytes` (nothing when it does not end, or is too large).
void append_number(std::uint64_t value, std::string& out);
std::optional<std::uint64_t> take_number(std::string_view& bytes);

}  // namespace microdit::tables

// Private to core: what the pickle machine works on: bytes that are taken in order, values that are made, a stack, marks.
#pragma once

#include <utility>

#include "core/pickle.h"
#include "core/torch_limits.h"

namespace microdit::core::detail {

class PickleStack {
 protected:
  explicit PickleStack(std::string_view bytes) : bytes_(bytes) {}

  [[noreturn]] void refuse(std::string_view what) const {
    user_error("the pickle is refused at byte {} (opcode 0x{:02x}): {}", at_, op_, what);
  }

  // --- bytes ---------------------------------------------------------------------------------

  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - at_)
      throw PickleCut(fmt::format("the pickle ends at byte {}, inside a value", bytes_.size()));
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }
  std::uint64_t take_number(std::size_t size) {
    const std::string_view taken = take(size);
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;) value = (value << 8) | static_cast<unsigned char>(taken[i]);
    return value;
  }
  /// A text that its length of `size` bytes precedes.
  std::string_view take_counted(std::size_t size) { return take(take_number(size)); }
  std::string_view take_line(std::size_t limit) {
    const std::size_t end = bytes_.substr(at_, limit + 1).find('\n');
    if (end == bytes_.npos && bytes_.size() - at_ > limit) refuse("a line is too long");
    const std::string_view line = take(end == bytes_.npos ? bytes_.size() - at_ + 1 : end + 1);
    return line.substr(0, end);
  }

  // --- values and the stack ------------------------------------------------------------------

  PickleValue& make(PickleKind kind) {
    if (pickle_.values.size() >= TorchLimits::values)
      refuse(fmt::format("it makes more than {} values", TorchLimits::values));
    stack_.push_back(static_cast<PickleId>(pickle_.values.size()));
    PickleValue& value = pickle_.values.emplace_back();
    value.kind = kind;
    return value;
  }
  PickleValue& value(PickleId id) { return pickle_.values[id]; }
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleId top() const {
    if (stack_.size() <= floor()) refuse("the stack is empty");
    return stack_.back();
  }
  PickleId pop() {
    const PickleId id = top();
    stack_.pop_back();
    return id;
  }
  std::vector<PickleId> pop_to_mark() {
    if (marks_.empty()) refuse("there is no mark");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleId> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  std::vector<PickleId> pop_some(std::size_t count) {
    std::vector<PickleId> items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }

  // --- integers ----------------------------------------------------------------------------

  void push_integer(std::int64_t number) { make(PickleKind::integer).integer = number; }
  void push_boolean(bool truth) { make(PickleKind::boolean).integer = truth ? 1 : 0; }

  void push_long(std::string_view little_endian) {
    if (little_endian.size() > TorchLimits::integer_bytes)
      refuse(fmt::format("an integer of {} bytes", little_endian.size()));
    if (little_endian.size() > 8) {
      make(PickleKind::big_integer).text = little_endian;
      return;
    }
    const bool negative = !little_endian.empty() && (little_endian.back() & 0x80) != 0;
    std::uint64_t bits = negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = little_endian.size(); i-- > 0;)
      bits = (bits << 8) | static_cast<unsigned char>(little_endian[i]);
    push_integer(static_cast<std::int64_t>(bits));
  }

  /// Decimal digits, as protocol 1 writes booleans ("00", "01") and what does not fit 32 bits (with an L behind).
  void push_decimal(bool is_long) {
    std::string_view line = take_line(TorchLimits::integer_bytes * 3);
    if (!is_long && (line == "00" || line == "01")) return push_boolean(line == "01");
    if (is_long && line.ends_with('L')) line.remove_suffix(1);
    const bool negative = line.starts_with('-');
    std::int64_t number = 0;
    bool fits = true;
    if (line.size() == (negative ? 1u : 0u)) refuse("an integer without digits");
    for (const char digit : line.substr(negative ? 1 : 0)) {
      if (digit < '0' || digit > '9') refuse("an integer that is none");
      fits = fits && !__builtin_mul_overflow(number, 10, &number) &&
             !__builtin_add_overflow(number, negative ? '0' - digit : digit - '0', &number);
    }
    if (fits) return push_integer(number);
    make(PickleKind::big_integer).text = line;
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
  unsigned char op_ = 0;
  Pickle pickle_;
  std::vector<PickleId> stack_;
  std::vector<std::size_t> marks_;
};

}  // namespace microdit::core::detail

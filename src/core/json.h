// JSON values and files; key order is kept so that written bytes are a function of the content alone.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

/// Integers out of JSON: what is none, or does not fit, is a type_error as any other wrong type. (The library casts: 2.7 is
/// 2, -1 is 2^64 - 1, and 1e65 anything.)
template <class T>
requires(std::integral<T> && !std::same_as<T, bool> &&
         !std::same_as<T, char>) struct nlohmann::adl_serializer<T, void> {
  template <class Value>
  static void from_json(const Value& json, T& out) {
    if (json.is_number_float()) {
      const double value = json.template get<double>();
      // 2^63 is a double, 2^63 - 1 is none.
      if (value == std::trunc(value) && value >= -0x1p63 && value < 0x1p63) {
        const auto whole = static_cast<std::int64_t>(value);
        if (std::in_range<T>(whole)) return void(out = static_cast<T>(whole));
      }
    } else if (json.is_number_unsigned()) {
      const auto value = *json.template get_ptr<const typename Value::number_unsigned_t*>();
      if (std::in_range<T>(value)) return void(out = static_cast<T>(value));
    } else if (json.is_number_integer()) {
      const auto value = *json.template get_ptr<const typename Value::number_integer_t*>();
      if (std::in_range<T>(value)) return void(out = static_cast<T>(value));
    } else {
      throw Value::type_error::create(302, std::string("type must be number, but is ") + json.type_name(),
                                      &json);
    }
    throw Value::type_error::create(302, "type must be an integer in its range, but is " + json.dump(),
                                    &json);
  }
  template <class Value>
  static void to_json(Value& json, T value) {
    ::nlohmann::to_json(json, value);
  }
};

namespace microdit::core {

using Json = nlohmann::ordered_json;

/// Parses text; UserError names `origin` (a file, a line of it) on bad JSON. Duplicate keys are an error.
Json parse_json(std::string_view text, std::string_view origin);

/// JSON from outside, as Python's json takes it: of duplicate keys the last counts; NaN, Infinity and numbers
/// beyond a double's range become null, half a surrogate pair U+FFFD. Integers beyond 64 bits are rounded to doubles, or are
/// text of their digits.
enum class BigIntegers { rounded, as_text };
Json parse_foreign_json(std::string_view text, std::string_view origin,
                        BigIntegers big = BigIntegers::rounded);

/// Reads a whole JSON file. UserError when it is missing or malformed.
Json read_json(const std::filesystem::path& path);

/// Writes `value` (2-space indent, final newline) by atomic_write.
void write_json(const std::filesystem::path& path, const Json& value);

}  // namespace microdit::core

// Where each value of a configuration comes from, for --print-config.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"

namespace microdit::core {

namespace detail {
std::string print_origins(void* object, FieldsFunction visit, const ConfigTree& tree);
}

/// to_yaml(value), and behind each value as a comment what said so in `tree`, from which it was loaded: "FILE:LINE",
/// "command line: KEY", or "default". load<T> reads it back to the same values.
template <class T>
std::string to_yaml_with_origins(const T& value, const ConfigTree& tree) {
  T copy = value;
  return detail::print_origins(&copy, detail::visitor<T>(), tree);
}

/// A text as YAML reads it back as that text: plain where nothing else can be meant, else quoted; ${ is $${.
std::string yaml_string(std::string text);

/// A value that a configuration gives: its dotted key (elements of lists by number), its text and where it stands.
struct GivenValue {
  std::string key, text, where;
  bool is_null = false;
};
/// All of them, in their order; an empty list or mapping is a null.
std::vector<GivenValue> given_values(const ConfigTree& tree);

}  // namespace microdit::core

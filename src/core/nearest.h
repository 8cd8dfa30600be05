// The nearest of the known names, for "did you mean".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace microdit::core {

/// The one of `known` with the fewest insertions, deletions, substitutions and swaps of neighbours from `given`, when these are at
/// most a third of its letters (one is always allowed).
std::optional<std::string> nearest(std::string_view given, const std::vector<std::string>& known);

/// The one of `known`, dotted keys of a configuration, that other programs call `given` ("learning_rate"); empty: none.
std::string other_key(std::string_view given, const std::vector<std::string>& known);

}  // namespace microdit::core

// JSON values and files; key order is kept so that written bytes are a function of the content alone.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace microdit::core {

using Json = nlohmann::ordered_json;

/// Parses text; UserError names `origin` (a file, a line of it) on bad JSON. Duplicate keys are an error.
Json parse_json(std::string_view text, std::string_view origin);

/// JSON from outside, as Python's json takes it: of duplicate keys the last counts; NaN, Infinity and numbers
/// beyond a double's range become null, half a surrogate pair U+FFFD.
Json parse_foreign_json(std::string_view text, std::string_view origin);

/// Reads a whole JSON file. UserError when it is missing or malformed.
Json read_json(const std::filesystem::path& path);

/// Writes `value` (2-space indent, final newline) by atomic_write.
void write_json(const std::filesystem::path& path, const Json& value);

}  // namespace microdit::core

// Private to core: a safetensors header's JSON, parsed and checked. No file in sight, so that it is easily attacked.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/input_file.h"
#include "core/safetensors.h"

namespace microdit::core::detail {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

struct SafetensorsHeader {
  std::map<std::string, TensorInfo> tensors;      ///< offsets are in the file
  std::map<std::string, std::string> unreadable;  ///< of an element type that DType lacks: why
  std::map<std::string, std::string> metadata;
};

/// The first eight bytes' number, checked against the limits (checks 1 to 3); `prefix` has at most eight
/// bytes.
std::uint64_t checked_header_size(std::string_view prefix, std::uint64_t file_size);

/// The checked header of an open file. UserError: "<error name>: details", or what the file is instead (foreign_format).
SafetensorsHeader read_safetensors_header(const InputFile& file);

/// Checks 4 to 10 on the JSON of a file of `file_size` bytes. UserError: "<error name>: details".
SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t file_size);

}  // namespace microdit::core::detail

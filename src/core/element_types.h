// For those who load weights: which element types of a foreign file can be weights.
#pragma once

#include <string>
#include <string_view>

#include "core/dtype.h"

namespace microdit::core {

/// Whether `name` is safetensors' name of a DType.
bool is_dtype(std::string_view name);
/// Why a tensor whose elements are of another type (fp8, complex, ...) cannot be read, and what to do.
std::string foreign_type(std::string_view name);
/// Whether weights may be of it: F16, BF16, F32, F64.
bool is_floating(DType dtype);

}  // namespace microdit::core

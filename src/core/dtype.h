// Element types of stored tensors (safetensors spelling).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace microdit::core {

enum class DType : std::uint8_t { boolean, u8, i8, i16, u16, f16, bf16, i32, u32, f32, f64, i64, u64 };

std::size_t size_of(DType dtype);
/// "F16", "I64", ... as safetensors spells them.
std::string_view name_of(DType dtype);
/// Inverse of name_of; UserError for an unknown name.
DType dtype_from_name(std::string_view name);

/// IEEE half <-> float, round to nearest even.
float half_to_float(std::uint16_t half);
std::uint16_t float_to_half(float value);

}  // namespace microdit::core

// Names and sizes of element types; IEEE 754 binary16 in software, so that no CPU feature is needed.
#include "core/dtype.h"

#include <array>
#include <bit>

#include "core/error.h"

namespace microdit::core {
namespace {

struct Row {
  std::string_view name;
  std::size_t size;
};

// In the order of DType, which is safetensors' alignment order.
constexpr std::array<Row, 13> kRows{{{"BOOL", 1},
                                     {"U8", 1},
                                     {"I8", 1},
                                     {"I16", 2},
                                     {"U16", 2},
                                     {"F16", 2},
                                     {"BF16", 2},
                                     {"I32", 4},
                                     {"U32", 4},
                                     {"F32", 4},
                                     {"F64", 8},
                                     {"I64", 8},
                                     {"U64", 8}}};

const Row& row_of(DType dtype) {
  const auto index = static_cast<std::size_t>(dtype);
  check(index < kRows.size(), "no such DType: {}", index);
  return kRows[index];
}

}  // namespace

std::size_t size_of(DType dtype) {
  return row_of(dtype).size;
}

std::string_view name_of(DType dtype) {
  return row_of(dtype).name;
}

DType dtype_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i].name == name) return static_cast<DType>(i);
  }
  std::string known;
  for (const Row& row : kRows) known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  user_error("unknown element type '{}' (known: {})", name, known);
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  std::uint32_t exponent = (half >> 10) & 0x1fu;
  std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    if (mantissa == 0) return std::bit_cast<float>(sign);
    // Subnormal: shift the leading one up to the hidden bit's place.
    const int shift = std::countl_zero(mantissa) - 21;
    mantissa = (mantissa << shift) & 0x3ffu;
    exponent = static_cast<std::uint32_t>(1 - shift);
  }
  return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {  // NaN: keep what fits of the payload, and stay a NaN
    const std::uint32_t payload = (magnitude >> 13) & 0x3ffu;
    return static_cast<std::uint16_t>(sign | 0x7c00u | (payload != 0 ? payload : 0x200u));
  }
  if (magnitude >= 0x477ff000u)
    return static_cast<std::uint16_t>(sign | 0x7c00u);  // 65520 and up round to infinity
  if (magnitude < 0x33000001u) return sign;             // 2^-25 and below round to zero
  const std::uint32_t exponent = magnitude >> 23;
  // Normal halves keep 10 mantissa bits; subnormal ones fewer, with the hidden bit made visible.
  const bool subnormal = exponent < 113;
  const std::uint32_t mantissa = subnormal ? (magnitude & 0x7fffffu) | 0x800000u : magnitude - (112u << 23);
  const std::uint32_t dropped = subnormal ? 126u - exponent : 13u;
  std::uint32_t half = mantissa >> dropped;
  const std::uint32_t rest = mantissa & ((1u << dropped) - 1u);
  const std::uint32_t tie = 1u << (dropped - 1u);
  if (rest > tie || (rest == tie && (half & 1u) != 0)) ++half;  // a carry into the exponent is right
  return static_cast<std::uint16_t>(sign | half);
}

}  // namespace microdit::core

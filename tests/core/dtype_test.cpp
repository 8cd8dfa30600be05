// Half precision over all its 65,536 values and against the compiler's own; names and sizes.
#include "core/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace microdit::core {
namespace {

/// Half as a number, from the definition.
double half_value(unsigned half) {
  const double sign = (half & 0x8000u) != 0 ? -1 : 1;
  const int exponent = static_cast<int>(half >> 10) & 0x1f;
  const int mantissa = static_cast<int>(half & 0x3ffu);
  return sign * (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

TEST(Half, EveryValueRoundTrips) {
  for (unsigned half = 0; half <= 0xffffu; ++half) {
    const float value = half_to_float(static_cast<std::uint16_t>(half));
    const bool special = (half & 0x7c00u) == 0x7c00u;
    if (!special) {
      ASSERT_EQ(value, half_value(half)) << half;
      ASSERT_EQ(std::signbit(value), half >= 0x8000u) << half;
    } else if ((half & 0x3ffu) != 0) {
      ASSERT_TRUE(std::isnan(value)) << half;
    } else {
      ASSERT_EQ(value, half >= 0x8000u ? -std::numeric_limits<float>::infinity()
                                       : std::numeric_limits<float>::infinity());
    }
    ASSERT_EQ(float_to_half(value), half);  // NaN payloads too
  }
}

TEST(Half, RoundsToNearestEven) {
  for (unsigned half = 0; half < 0x7bffu; ++half) {  // every gap between neighbours, subnormals included
    const float low = half_to_float(static_cast<std::uint16_t>(half));
    const float high = half_to_float(static_cast<std::uint16_t>(half + 1));
    const float middle = (low + high) / 2;  // exact in float
    const unsigned even = half % 2 == 0 ? half : half + 1;
    ASSERT_EQ(float_to_half(middle), even) << half;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), half) << half;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e9f)), half + 1) << half;
    ASSERT_EQ(float_to_half(-middle), even | 0x8000u) << half;
  }
}

TEST(Half, Extremes) {
  EXPECT_EQ(float_to_half(65519.0f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(float_to_half(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::denorm_min()), 0x0000);
  EXPECT_EQ(float_to_half(-0.0f), 0x8000);
  EXPECT_EQ(float_to_half(0x1p-25f), 0x0000);
  EXPECT_EQ(float_to_half(0x1.000002p-25f), 0x0001);
  const float low_payload = std::bit_cast<float>(0x7f800001u);  // its payload does not fit into a half
  EXPECT_TRUE(std::isnan(half_to_float(float_to_half(low_payload))));
}

TEST(DType, NamesAndSizes) {
  const std::pair<const char*, std::size_t> expected[] = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"I16", 2}, {"U16", 2}, {"F16", 2}, {"BF16", 2},
      {"I32", 4},  {"U32", 4}, {"F32", 4}, {"F64", 8}, {"I64", 8}, {"U64", 8}};
  for (const auto& [name, size] : expected) {
    EXPECT_EQ(name_of(dtype_from_name(name)), name);
    EXPECT_EQ(size_of(dtype_from_name(name)), size);
  }
  EXPECT_EQ(dtype_from_name("F32"), DType::f32);
  EXPECT_EQ(dtype_from_name("BF16"), DType::bf16);
  EXPECT_EQ(dtype_from_name("U64"), DType::u64);
  EXPECT_THROW(dtype_from_name("f32"), UserError);
}

}  // namespace
}  // namespace microdit::core

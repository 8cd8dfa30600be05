// The arithmetic of norm_silu over rows of `width` floats: `rows` rows that lie one after the other.
#pragma once

#include <cstdint>

namespace microdit::encoders {

/// sum[i] += x[r][i]
void add_rows(const float* x, std::int64_t rows, std::int64_t width, float* sum);

/// sum[i] += (x[r][i] - mean[i])^2
void add_square_rows(const float* x, const float* mean, std::int64_t rows, std::int64_t width, float* sum);

/// y = silu(h), h = scale x + offset
void apply_rows(const float* x, const float* scale, const float* offset, std::int64_t rows,
                std::int64_t width, float* y);

/// dh = dy silu'(h); sum += dh; sum_x += dh (x - mean). tables: scale | offset | mean, `width` floats each.
void backward_rows(const float* x, const float* dy, const float* tables, std::int64_t rows,
                   std::int64_t width, float* dh, float* sum, float* sum_x);

/// dx = a dh + b x + c, in place of dh. tables: a | b | c.
void combine_rows(const float* x, const float* tables, std::int64_t rows, std::int64_t width, float* dx);

/// bf16 to float and back (to nearest, ties to even; a NaN stays one).
void widen(const std::uint16_t* bf16, std::int64_t count, float* out);
void narrow(const float* x, std::int64_t count, std::uint16_t* bf16);

}  // namespace microdit::encoders

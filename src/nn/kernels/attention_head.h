// One head of one sample: the products of attention over short sequences, in vector code.
#pragma once

#include <cstdint>

namespace microdit::nn::kernels {

/// Rows of a head: element (row, column) at data[row * stride + column].
struct HeadRows {
  float* data;
  std::int64_t stride;
};

struct HeadShape {
  std::int64_t queries;         ///< T
  std::int64_t keys;            ///< L
  std::int64_t padded;          ///< L rounded up to whole vectors: the row length of `weights`
  std::int64_t dim;             ///< a multiple of 16
  const float* seen = nullptr;  ///< [padded] 1 for keys that are seen, at least one, else 0; null: all are
};

/// Floats of scratch that both functions need.
std::int64_t head_scratch(const HeadShape& shape);

/// weights = softmax(scale q k^T) over the seen keys [T, padded] (zero elsewhere), out = weights v.
void attend_head(const HeadShape& shape, HeadRows q, HeadRows k, HeadRows v, HeadRows out, float* weights,
                 float* scratch);

/// dq, dk, dv of it, overwritten; exact zeros in dk and dv of keys that are not seen.
void attend_head_backward(const HeadShape& shape, HeadRows q, HeadRows k, HeadRows v, const float* weights,
                          HeadRows dout, HeadRows dq, HeadRows dk, HeadRows dv, float* scratch);

/// xhat = (x - mean) * rstd of one row; returns rstd.
float normalize_row(std::int64_t dim, float eps, const float* x, float* xhat);
/// dx = rstd (dxhat - mean(dxhat) - xhat mean(dxhat xhat)).
void normalize_row_backward(std::int64_t dim, float rstd, const float* xhat, const float* dxhat, float* dx);

}  // namespace microdit::nn::kernels

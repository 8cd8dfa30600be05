// Small matrix products with the accumulators in registers; softmax by rows.
#include "nn/kernels/attention_head.h"

#include <cmath>
#include <limits>

#include "nn/kernels/simd.h"

namespace microdit::nn::kernels {

namespace {

/// An [M, K] factor: element (m, k) at data[m * row + k * column].
struct Factor {
  const float* data;
  std::int64_t row;
  std::int64_t column;
};

template <int M>
MICRODIT_INLINE void multiply_rows(std::int64_t columns, std::int64_t depth, const Factor& a, const float* b,
                                   std::int64_t b_row, float factor, float* c, std::int64_t c_row) {
  for (std::int64_t n = 0; n < columns; n += kLanes) {
    Vec sum[M] = {};
    for (std::int64_t k = 0; k < depth; ++k) {
      Vec v;
      load(v, b + k * b_row + n);
      for (int m = 0; m < M; ++m) sum[m] += a.data[m * a.row + k * a.column] * v;
    }
    for (int m = 0; m < M; ++m) {
      sum[m] *= factor;
      store(c + m * c_row + n, sum[m]);
    }
  }
}

/// c [rows, columns] = factor * a b, b [depth, columns]; columns is a multiple of 16.
MICRODIT_INLINE void multiply(std::int64_t rows, std::int64_t columns, std::int64_t depth, Factor a,
                              const float* b, std::int64_t b_row, float factor, float* c,
                              std::int64_t c_row) {
  constexpr int kBlock = 8;
  std::int64_t m = 0;
  for (; m + kBlock <= rows; m += kBlock) {
    multiply_rows<kBlock>(columns, depth, a, b, b_row, factor, c + m * c_row, c_row);
    a.data += kBlock * a.row;
  }
  for (; m < rows; ++m) {
    multiply_rows<1>(columns, depth, a, b, b_row, factor, c + m * c_row, c_row);
    a.data += a.row;
  }
}

/// to [dim, padded] = from^T, zero in the padding.
MICRODIT_INLINE void transpose(const HeadShape& s, const HeadRows& from, float* to) {
  for (std::int64_t d = 0; d < s.dim; ++d) {
    float* row = to + d * s.padded;
    for (std::int64_t l = 0; l < s.keys; ++l) row[l] = from.data[l * from.stride + d];
    for (std::int64_t l = s.keys; l < s.padded; ++l) row[l] = 0;
  }
}

/// Of the keys that are seen: a hidden one must not shift the others' rounding.
MICRODIT_INLINE float highest_of(std::int64_t count, const float* seen, const float* row) {
  float highest = seen == nullptr ? row[0] : std::numeric_limits<float>::lowest();
  if (seen == nullptr) {
    for (std::int64_t l = 1; l < count; ++l) highest = row[l] > highest ? row[l] : highest;
  } else {
    for (std::int64_t l = 0; l < count; ++l) highest = seen[l] > 0 && row[l] > highest ? row[l] : highest;
  }
  return highest;
}

MICRODIT_INLINE void softmax_row(std::int64_t count, std::int64_t padded, const float* seen, float* row) {
  const float highest = highest_of(count, seen, row);
  Vec total{}, v;
  for (std::int64_t l = 0; l < padded; l += kLanes) {
    load(v, row + l);
    v -= highest;
    exp_lanes(v, v);
    if (l + kLanes > count) {
      float lane[kLanes];
      store(lane, v);
      for (std::int64_t i = count - l > 0 ? count - l : 0; i < kLanes; ++i) lane[i] = 0;
      load(v, lane);
    }
    if (seen != nullptr) {
      Vec kept;
      load(kept, seen + l);
      v *= kept;
    }
    store(row + l, v);
    total += v;
  }
  const float inverse = 1.0F / sum_lanes(total);
  for (std::int64_t l = 0; l < padded; l += kLanes) {
    load(v, row + l);
    v *= inverse;
    store(row + l, v);
  }
}

/// dlogits = p * (dp - sum(p dp)), in place of dp.
MICRODIT_INLINE void softmax_row_backward(std::int64_t padded, const float* p, float* dp) {
  Vec sum{}, a, b;
  for (std::int64_t l = 0; l < padded; l += kLanes) {
    load(a, p + l);
    load(b, dp + l);
    sum += a * b;
  }
  const float dot = sum_lanes(sum);
  for (std::int64_t l = 0; l < padded; l += kLanes) {
    load(a, p + l);
    load(b, dp + l);
    b = a * (b - dot);
    store(dp + l, b);
  }
}

}  // namespace

std::int64_t head_scratch(const HeadShape& shape) {
  return shape.dim * shape.padded + shape.queries * shape.padded;
}

MICRODIT_CLONES void attend_head(const HeadShape& s, HeadRows q, HeadRows k, HeadRows v, HeadRows out,
                                 float* weights, float* scratch) {
  transpose(s, k, scratch);
  const float scale = 1.0F / std::sqrt(static_cast<float>(s.dim));
  multiply(s.queries, s.padded, s.dim, {q.data, q.stride, 1}, scratch, s.padded, scale, weights, s.padded);
  for (std::int64_t t = 0; t < s.queries; ++t) softmax_row(s.keys, s.padded, s.seen, weights + t * s.padded);
  multiply(s.queries, s.dim, s.keys, {weights, s.padded, 1}, v.data, v.stride, 1.0F, out.data, out.stride);
}

MICRODIT_CLONES void attend_head_backward(const HeadShape& s, HeadRows q, HeadRows k, HeadRows v,
                                          const float* weights, HeadRows dout, HeadRows dq, HeadRows dk,
                                          HeadRows dv, float* scratch) {
  float* transposed = scratch;
  float* dlogits = scratch + s.dim * s.padded;
  const float scale = 1.0F / std::sqrt(static_cast<float>(s.dim));
  multiply(s.keys, s.dim, s.queries, {weights, 1, s.padded}, dout.data, dout.stride, 1.0F, dv.data,
           dv.stride);
  transpose(s, v, transposed);
  multiply(s.queries, s.padded, s.dim, {dout.data, dout.stride, 1}, transposed, s.padded, 1.0F, dlogits,
           s.padded);
  for (std::int64_t t = 0; t < s.queries; ++t) {
    softmax_row_backward(s.padded, weights + t * s.padded, dlogits + t * s.padded);
  }
  multiply(s.queries, s.dim, s.keys, {dlogits, s.padded, 1}, k.data, k.stride, scale, dq.data, dq.stride);
  multiply(s.keys, s.dim, s.queries, {dlogits, 1, s.padded}, q.data, q.stride, scale, dk.data, dk.stride);
}

MICRODIT_CLONES float normalize_row(std::int64_t dim, float eps, const float* x, float* xhat) {
  Vec sum{}, v;
  for (std::int64_t i = 0; i < dim; i += kLanes) {
    load(v, x + i);
    sum += v;
  }
  const float mean = sum_lanes(sum) / static_cast<float>(dim);
  sum = Vec{};
  for (std::int64_t i = 0; i < dim; i += kLanes) {
    load(v, x + i);
    v -= mean;
    sum += v * v;
  }
  const float rstd = 1.0F / std::sqrt(sum_lanes(sum) / static_cast<float>(dim) + eps);
  for (std::int64_t i = 0; i < dim; i += kLanes) {
    load(v, x + i);
    v = (v - mean) * rstd;
    store(xhat + i, v);
  }
  return rstd;
}

MICRODIT_CLONES void normalize_row_backward(std::int64_t dim, float rstd, const float* xhat,
                                            const float* dxhat, float* dx) {
  Vec sum{}, sum_x{}, x, d;
  for (std::int64_t i = 0; i < dim; i += kLanes) {
    load(x, xhat + i);
    load(d, dxhat + i);
    sum += d;
    sum_x += d * x;
  }
  const float c1 = sum_lanes(sum) / static_cast<float>(dim);
  const float c2 = sum_lanes(sum_x) / static_cast<float>(dim);
  for (std::int64_t i = 0; i < dim; i += kLanes) {
    load(x, xhat + i);
    load(d, dxhat + i);
    d = (d - c1 - x * c2) * rstd;
    store(dx + i, d);
  }
}

}  // namespace microdit::nn::kernels

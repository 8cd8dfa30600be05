// Layer normalisation with modulation: rows in vector code, sums over rows kept per sample so that the result
// does not depend on the number of threads.
#include "nn/kernels/norm_modulate.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <optional>

#include "nn/kernels/simd.h"
#include "nn/kernels/typed_data.h"
#include "nn/precision.h"

namespace microdit::nn::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// One sample's rows of fp32 or bf16. Null shift means: no modulation.
template <class T>
struct Rows {
  std::int64_t count;
  std::int64_t dim;
  const T* x;
  const float* weight;
  const float* shift;
  const float* scale;
  float* mean;  ///< [count]
  float* rstd;  ///< [count]
};

template <class T>
MICRODIT_INLINE void forward_rows_of(const Rows<T>& rows, float eps, T* y) {
  const std::int64_t dim = rows.dim;
  const std::int64_t whole = dim / kLanes * kLanes;
  const std::int64_t rest = dim - whole;
  for (std::int64_t t = 0; t < rows.count; ++t) {
    const T* x = rows.x + t * dim;
    T* out = y + t * dim;
    Vec sum{}, v, w, s;
    for (std::int64_t i = 0; i < whole; i += kLanes) {
      load(v, x + i);
      sum += v;
    }
    float total = sum_lanes(sum);
    for (std::int64_t i = whole; i < dim; ++i) total += value_of(x[i]);
    const float mean = total / static_cast<float>(dim);
    sum = Vec{};
    for (std::int64_t i = 0; i < whole; i += kLanes) {
      load(v, x + i);
      v -= mean;
      sum += v * v;
    }
    total = sum_lanes(sum);
    for (std::int64_t i = whole; i < dim; ++i) total += (value_of(x[i]) - mean) * (value_of(x[i]) - mean);
    const float rstd = 1.0F / std::sqrt(total / static_cast<float>(dim) + eps);
    rows.mean[t] = mean;
    rows.rstd[t] = rstd;
    for (std::int64_t i = 0; i < dim; i += kLanes) {
      const bool part = i >= whole;
      part ? load_part(v, x + i, rest) : load(v, x + i);
      part ? load_part(w, rows.weight + i, rest) : load(w, rows.weight + i);
      v = (v - mean) * rstd * w;
      if (rows.shift != nullptr) {
        part ? load_part(s, rows.scale + i, rest) : load(s, rows.scale + i);
        v *= 1.0F + s;
        part ? load_part(s, rows.shift + i, rest) : load(s, rows.shift + i);
        v += s;
      }
      part ? store_part(out + i, v, rest) : store(out + i, v);
    }
  }
}

MICRODIT_CLONES void forward_rows(const Rows<float>& rows, float eps, float* y) {
  forward_rows_of(rows, eps, y);
}
MICRODIT_CLONES void forward_rows(const Rows<Bf16>& rows, float eps, Bf16* y) {
  forward_rows_of(rows, eps, y);
}

/// dx, and the sums over this sample's rows of dy * xhat and of dy (both [dim], overwritten).
template <class T>
MICRODIT_INLINE void backward_rows_of(const Rows<T>& rows, const T* dy, T* dx, float* sum_dy_xhat,
                                      float* sum_dy) {
  const std::int64_t dim = rows.dim;
  const std::int64_t whole = dim / kLanes * kLanes;
  const std::int64_t rest = dim - whole;
  std::memset(sum_dy_xhat, 0, static_cast<std::size_t>(dim) * sizeof(float));
  std::memset(sum_dy, 0, static_cast<std::size_t>(dim) * sizeof(float));
  for (std::int64_t t = 0; t < rows.count; ++t) {
    const T* x = rows.x + t * dim;
    const T* g = dy + t * dim;
    const float mean = rows.mean[t];
    const float rstd = rows.rstd[t];
    Vec sum_g{}, sum_gx{}, v, w, s, d, a;
    for (std::int64_t i = 0; i < dim; i += kLanes) {
      const bool part = i >= whole;
      part ? load_part(v, x + i, rest) : load(v, x + i);
      part ? load_part(d, g + i, rest) : load(d, g + i);
      part ? load_part(w, rows.weight + i, rest) : load(w, rows.weight + i);
      const Vec xhat = (v - mean) * rstd;
      part ? load_part(a, sum_dy_xhat + i, rest) : load(a, sum_dy_xhat + i);
      a += d * xhat;
      part ? store_part(sum_dy_xhat + i, a, rest) : store(sum_dy_xhat + i, a);
      part ? load_part(a, sum_dy + i, rest) : load(a, sum_dy + i);
      a += d;
      part ? store_part(sum_dy + i, a, rest) : store(sum_dy + i, a);
      if (rows.scale != nullptr) {
        part ? load_part(s, rows.scale + i, rest) : load(s, rows.scale + i);
        w *= 1.0F + s;
      }
      const Vec gw = d * w;  // zero beyond the row's end
      sum_g += gw;
      sum_gx += gw * xhat;
    }
    const float c1 = sum_lanes(sum_g) / static_cast<float>(dim);
    const float c2 = sum_lanes(sum_gx) / static_cast<float>(dim);
    T* out = dx + t * dim;
    for (std::int64_t i = 0; i < dim; i += kLanes) {
      const bool part = i >= whole;
      part ? load_part(v, x + i, rest) : load(v, x + i);
      part ? load_part(d, g + i, rest) : load(d, g + i);
      part ? load_part(w, rows.weight + i, rest) : load(w, rows.weight + i);
      if (rows.scale != nullptr) {
        part ? load_part(s, rows.scale + i, rest) : load(s, rows.scale + i);
        w *= 1.0F + s;
      }
      const Vec xhat = (v - mean) * rstd;
      v = (d * w - c1 - xhat * c2) * rstd;
      part ? store_part(out + i, v, rest) : store(out + i, v);
    }
  }
}

MICRODIT_CLONES void backward_rows(const Rows<float>& rows, const float* dy, float* dx, float* sum_dy_xhat,
                                   float* sum_dy) {
  backward_rows_of(rows, dy, dx, sum_dy_xhat, sum_dy);
}
MICRODIT_CLONES void backward_rows(const Rows<Bf16>& rows, const Bf16* dy, Bf16* dx, float* sum_dy_xhat,
                                   float* sum_dy) {
  backward_rows_of(rows, dy, dx, sum_dy_xhat, sum_dy);
}

/// autograd::Function takes no undefined tensors.
using OptionalTensor = std::optional<torch::Tensor>;
OptionalTensor if_defined(const torch::Tensor& t) {
  return t.defined() ? OptionalTensor(t) : std::nullopt;
}

struct Shape {
  std::int64_t samples, count, dim;
};

/// x as samples of `count` rows; without modulation the first axis serves as the samples.
Shape shape_of(const torch::Tensor& x) {
  const std::int64_t dim = x.size(-1);
  const std::int64_t samples = x.dim() > 1 ? x.size(0) : 1;
  return {samples, x.numel() == 0 ? 0 : x.numel() / (samples * dim), dim};
}

/// x, and so y, dy and dx, is fp32 or bf16; the others are fp32 here (autograd hands their gradients on in their own types).
class NormModulate : public torch::autograd::Function<NormModulate> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x_in,
                               const torch::Tensor& weight_in, const OptionalTensor& shift_in,
                               const OptionalTensor& scale_in, double eps) {
    const torch::Tensor x = x_in.contiguous(), weight = weight_in.to(torch::kFloat);
    const torch::Tensor shift = shift_in ? float_rows(*shift_in) : torch::Tensor();
    const torch::Tensor scale = scale_in ? float_rows(*scale_in) : torch::Tensor();
    const Shape shape = shape_of(x);
    torch::Tensor y = torch::empty_like(x);
    torch::Tensor moments = torch::empty({2, shape.samples * shape.count});
    const variable_list of_rows{x, weight, shift, scale, moments};
    by_type(x, [&](auto type) {
      for_samples<decltype(type)>(of_rows, [&](const auto& rows, std::int64_t, std::int64_t offset) {
        forward_rows(rows, static_cast<float>(eps), data_of<decltype(type)>(y) + offset);
      });
    });
    ctx->save_for_backward(of_rows);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1], &scale = saved[3];
    const torch::Tensor dy = grads[0].contiguous();
    const Shape shape = shape_of(x);
    torch::Tensor dx = torch::empty_like(x);
    torch::Tensor sums = torch::empty({2, shape.samples, shape.dim});
    by_type(x, [&](auto type) {
      using T = decltype(type);
      for_samples<T>(saved, [&](const auto& rows, std::int64_t sample, std::int64_t offset) {
        float* sum = sums.mutable_data_ptr<float>() + sample * shape.dim;
        backward_rows(rows, data_of<T>(dy) + offset, data_of<T>(dx) + offset, sum,
                      sum + shape.samples * shape.dim);
      });
    });
    const torch::Tensor dy_xhat = sums[0];
    if (!scale.defined()) return {dx, dy_xhat.sum(0), {}, {}, {}};
    return {dx, (dy_xhat * (1 + scale)).sum(0), sums[1], dy_xhat * weight, {}};
  }

 private:
  /// `saved`: x, weight, shift, scale, moments.
  template <class T, class Work>
  static void for_samples(const variable_list& saved, const Work& work) {
    const torch::Tensor &shift = saved[2], &scale = saved[3];
    const Shape shape = shape_of(saved[0]);
    const T* x_data = data_of<T>(saved[0]);
    const float* w = saved[1].const_data_ptr<float>();
    const float* sh = shift.defined() ? shift.const_data_ptr<float>() : nullptr;
    const float* sc = scale.defined() ? scale.const_data_ptr<float>() : nullptr;
    const std::int64_t shift_stride = sh != nullptr ? shift.stride(0) : 0,
                       scale_stride = sc != nullptr ? scale.stride(0) : 0;
    float* mean = saved[4].mutable_data_ptr<float>();
    float* rstd = mean + shape.samples * shape.count;
    at::parallel_for(0, shape.samples, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t b = begin; b < end; ++b) {
        const std::int64_t offset = b * shape.count * shape.dim;
        work(Rows<T>{shape.count, shape.dim, x_data + offset, w,
                     sh == nullptr ? nullptr : sh + b * shift_stride,
                     sc == nullptr ? nullptr : sc + b * scale_stride, mean + b * shape.count,
                     rstd + b * shape.count},
             b, offset);
      }
    });
  }
};

}  // namespace

torch::Tensor norm_modulate(const torch::Tensor& x, const torch::Tensor& weight,
                            const torch::Tensor& shift_BD, const torch::Tensor& scale_BD, double eps) {
  if (!takes_cpu_kernel({x, weight, shift_BD, scale_BD}) && !takes_bf16_kernel({x})) {
    return norm_modulate_reference(x, weight, shift_BD, scale_BD, eps);
  }
  return NormModulate::apply(x, weight, if_defined(shift_BD), if_defined(scale_BD), eps);
}

torch::Tensor norm_modulate_reference(const torch::Tensor& x, const torch::Tensor& weight,
                                      const torch::Tensor& shift_BD, const torch::Tensor& scale_BD,
                                      double eps) {
  // Statistics and weight keep the wider type: a bf16 x must not round an fp32 weight.
  const auto type = at::promote_types(x.scalar_type(), weight.scalar_type());
  const torch::Tensor normed = at::layer_norm(x.to(type), {x.size(-1)}, weight.to(type), {}, eps);
  if (!shift_BD.defined()) return normed;
  return normed * (1 + scale_BD.unsqueeze(1)) + shift_BD.unsqueeze(1);
}

}  // namespace microdit::nn::kernels

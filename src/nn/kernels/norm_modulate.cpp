// Layer normalisation with modulation: rows in vector code, sums over rows kept per sample so that the result
// does not depend on the number of threads.
#include "nn/kernels/norm_modulate.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <optional>

#include "nn/kernels/simd.h"
#include "nn/precision.h"

namespace microdit::nn::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// One sample's rows. Null shift means: no modulation.
struct Rows {
  std::int64_t count;
  std::int64_t dim;
  const float* x;
  const float* weight;
  const float* shift;
  const float* scale;
  float* mean;  ///< [count]
  float* rstd;  ///< [count]
};

MICRODIT_CLONES void forward_rows(const Rows& rows, float eps, float* y) {
  const std::int64_t dim = rows.dim;
  const std::int64_t whole = dim / kLanes * kLanes;
  const std::int64_t rest = dim - whole;
  for (std::int64_t t = 0; t < rows.count; ++t) {
    const float* x = rows.x + t * dim;
    float* out = y + t * dim;
    Vec sum{}, v, w, s;
    for (std::int64_t i = 0; i < whole; i += kLanes) {
      load(v, x + i);
      sum += v;
    }
    float total = sum_lanes(sum);
    for (std::int64_t i = whole; i < dim; ++i) total += x[i];
    const float mean = total / static_cast<float>(dim);
    sum = Vec{};
    for (std::int64_t i = 0; i < whole; i += kLanes) {
      load(v, x + i);
      v -= mean;
      sum += v * v;
    }
    total = sum_lanes(sum);
    for (std::int64_t i = whole; i < dim; ++i) total += (x[i] - mean) * (x[i] - mean);
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

/// dx, and the sums over this sample's rows of dy * xhat and of dy (both [dim], overwritten).
MICRODIT_CLONES void backward_rows(const Rows& rows, const float* dy, float* dx, float* sum_dy_xhat,
                                   float* sum_dy) {
  const std::int64_t dim = rows.dim;
  const std::int64_t whole = dim / kLanes * kLanes;
  const std::int64_t rest = dim - whole;
  std::memset(sum_dy_xhat, 0, static_cast<std::size_t>(dim) * sizeof(float));
  std::memset(sum_dy, 0, static_cast<std::size_t>(dim) * sizeof(float));
  for (std::int64_t t = 0; t < rows.count; ++t) {
    const float* x = rows.x + t * dim;
    const float* g = dy + t * dim;
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
    float* out = dx + t * dim;
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

/// Last-axis rows in memory order; a [B, D] chunk of a wider row is used as it lies.
torch::Tensor row_major(const torch::Tensor& t) {
  return t.stride(-1) == 1 ? t : t.contiguous();
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

class NormModulate : public torch::autograd::Function<NormModulate> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x_in, const torch::Tensor& weight,
                               const OptionalTensor& shift_in, const OptionalTensor& scale_in, double eps) {
    const torch::Tensor x = x_in.contiguous();
    const torch::Tensor shift = shift_in ? row_major(*shift_in) : torch::Tensor();
    const torch::Tensor scale = scale_in ? row_major(*scale_in) : torch::Tensor();
    const Shape shape = shape_of(x);
    torch::Tensor y = torch::empty_like(x);
    torch::Tensor moments = torch::empty({2, shape.samples * shape.count});
    for_samples(x, weight, shift, scale, moments, [&](const Rows& rows, std::int64_t, std::int64_t offset) {
      forward_rows(rows, static_cast<float>(eps), y.mutable_data_ptr<float>() + offset);
    });
    ctx->save_for_backward({x, weight, shift, scale, moments});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1], &shift = saved[2], &scale = saved[3];
    const torch::Tensor dy = grads[0].contiguous();
    const Shape shape = shape_of(x);
    torch::Tensor dx = torch::empty_like(x);
    torch::Tensor sums = torch::empty({2, shape.samples, shape.dim});
    for_samples(x, weight, shift, scale, saved[4],
                [&](const Rows& rows, std::int64_t sample, std::int64_t offset) {
                  float* sum = sums.mutable_data_ptr<float>() + sample * shape.dim;
                  backward_rows(rows, dy.const_data_ptr<float>() + offset,
                                dx.mutable_data_ptr<float>() + offset, sum, sum + shape.samples * shape.dim);
                });
    const torch::Tensor dy_xhat = sums[0];
    if (!scale.defined()) return {dx, dy_xhat.sum(0), {}, {}, {}};
    return {dx, (dy_xhat * (1 + scale)).sum(0), sums[1], dy_xhat * weight, {}};
  }

 private:
  template <class Work>
  static void for_samples(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& shift,
                          const torch::Tensor& scale, const torch::Tensor& moments, const Work& work) {
    const Shape shape = shape_of(x);
    const float* x_data = x.const_data_ptr<float>();
    const float* w = weight.const_data_ptr<float>();
    const float* sh = shift.defined() ? shift.const_data_ptr<float>() : nullptr;
    const float* sc = scale.defined() ? scale.const_data_ptr<float>() : nullptr;
    const std::int64_t shift_stride = sh != nullptr ? shift.stride(0) : 0,
                       scale_stride = sc != nullptr ? scale.stride(0) : 0;
    float* mean = moments.mutable_data_ptr<float>();
    float* rstd = mean + shape.samples * shape.count;
    at::parallel_for(0, shape.samples, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t b = begin; b < end; ++b) {
        const std::int64_t offset = b * shape.count * shape.dim;
        work(Rows{shape.count, shape.dim, x_data + offset, w, sh == nullptr ? nullptr : sh + b * shift_stride,
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
  if (!takes_cpu_kernel({x, weight, shift_BD, scale_BD})) {
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

// Gated residual and SwiGLU.
#include "nn/kernels/pointwise.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/kernels/simd.h"
#include "nn/kernels/typed_data.h"
#include "nn/precision.h"

namespace microdit::nn::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kGrain = 4096;  // floats per task: below it threads cost more than they give

MICRODIT_CLONES void gated_add_rows(std::int64_t count, std::int64_t dim, const float* x, const float* y,
                                    const float* gate, float* out) {
  for (std::int64_t t = 0; t < count; ++t, x += dim, y += dim, out += dim) {
    for (std::int64_t i = 0; i < dim; ++i) out[i] = x[i] + gate[i] * y[i];
  }
}

/// dy = gate * g, dgate = sum over rows of g * y.
MICRODIT_CLONES void gated_add_backward_rows(std::int64_t count, std::int64_t dim, const float* g,
                                             const float* y, const float* gate, float* dy, float* dgate) {
  for (std::int64_t i = 0; i < dim; ++i) dgate[i] = 0;
  for (std::int64_t t = 0; t < count; ++t, g += dim, y += dim, dy += dim) {
    for (std::int64_t i = 0; i < dim; ++i) {
      dy[i] = gate[i] * g[i];
      dgate[i] += g[i] * y[i];
    }
  }
}

MICRODIT_CLONES void gated_add_rows(std::int64_t count, std::int64_t dim, const Bf16* x, const Bf16* y,
                                    const float* gate, Bf16* out) {
  for (std::int64_t t = 0; t < count; ++t, x += dim, y += dim, out += dim) {
    for (std::int64_t i = 0; i < dim; i += kLanes) {
      const std::int64_t n = dim - i < kLanes ? dim - i : kLanes;
      Vec a, b, c;
      n == kLanes ? load(a, x + i) : load_part(a, x + i, n);
      n == kLanes ? load(b, y + i) : load_part(b, y + i, n);
      n == kLanes ? load(c, gate + i) : load_part(c, gate + i, n);
      a += c * b;
      n == kLanes ? store(out + i, a) : store_part(out + i, a, n);
    }
  }
}

MICRODIT_CLONES void gated_add_backward_rows(std::int64_t count, std::int64_t dim, const Bf16* g,
                                             const Bf16* y, const float* gate, Bf16* dy, float* dgate) {
  for (std::int64_t i = 0; i < dim; i += kLanes) {
    const std::int64_t n = dim - i < kLanes ? dim - i : kLanes;
    Vec sum{}, c;
    n == kLanes ? load(c, gate + i) : load_part(c, gate + i, n);
    for (std::int64_t t = 0; t < count; ++t) {
      Vec a, b;
      n == kLanes ? load(a, g + t * dim + i) : load_part(a, g + t * dim + i, n);
      n == kLanes ? load(b, y + t * dim + i) : load_part(b, y + t * dim + i, n);
      sum += a * b;
      a *= c;
      n == kLanes ? store(dy + t * dim + i, a) : store_part(dy + t * dim + i, a, n);
    }
    n == kLanes ? store(dgate + i, sum) : store_part(dgate + i, sum, n);
  }
}

MICRODIT_INLINE void sigmoid(Vec& y, const Vec& x) {
  exp_lanes(y, -x);
  y = 1.0F / (1.0F + y);
}

template <class T>
MICRODIT_INLINE void swiglu_range_of(std::int64_t count, const T* u, const T* v, T* out) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const std::int64_t n = count - i < kLanes ? count - i : kLanes;
    Vec a, b, s;
    n == kLanes ? load(a, u + i) : load_part(a, u + i, n);
    n == kLanes ? load(b, v + i) : load_part(b, v + i, n);
    sigmoid(s, a);
    a = a * s * b;
    n == kLanes ? store(out + i, a) : store_part(out + i, a, n);
  }
}

MICRODIT_CLONES void swiglu_range(std::int64_t count, const float* u, const float* v, float* out) {
  swiglu_range_of(count, u, v, out);
}
MICRODIT_CLONES void swiglu_range(std::int64_t count, const Bf16* u, const Bf16* v, Bf16* out) {
  swiglu_range_of(count, u, v, out);
}

/// silu'(u) = s (1 + u (1 - s)).
template <class T>
MICRODIT_INLINE void swiglu_backward_range_of(std::int64_t count, const T* g, const T* u, const T* v, T* du,
                                              T* dv) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const std::int64_t n = count - i < kLanes ? count - i : kLanes;
    Vec a, b, d, s;
    n == kLanes ? load(a, u + i) : load_part(a, u + i, n);
    n == kLanes ? load(b, v + i) : load_part(b, v + i, n);
    n == kLanes ? load(d, g + i) : load_part(d, g + i, n);
    sigmoid(s, a);
    const Vec da = d * b * s * (1.0F + a * (1.0F - s));
    const Vec db = d * a * s;
    n == kLanes ? store(du + i, da) : store_part(du + i, da, n);
    n == kLanes ? store(dv + i, db) : store_part(dv + i, db, n);
  }
}

MICRODIT_CLONES void swiglu_backward_range(std::int64_t count, const float* g, const float* u, const float* v,
                                           float* du, float* dv) {
  swiglu_backward_range_of(count, g, u, v, du, dv);
}
MICRODIT_CLONES void swiglu_backward_range(std::int64_t count, const Bf16* g, const Bf16* u, const Bf16* v,
                                           Bf16* du, Bf16* dv) {
  swiglu_backward_range_of(count, g, u, v, du, dv);
}

/// x, y and the result are fp32 or bf16, the gate is fp32 here.
class GatedAdd : public torch::autograd::Function<GatedAdd> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x_in, const torch::Tensor& y_in,
                               const torch::Tensor& gate_in) {
    const torch::Tensor x = x_in.contiguous(), y = y_in.contiguous(), gate = float_rows(gate_in);
    torch::Tensor out = torch::empty_like(x);
    const std::int64_t count = x.size(1), dim = x.size(2);
    const float* pg = gate.const_data_ptr<float>();
    by_type(x, [&](auto type) {
      using T = decltype(type);
      const T *px = data_of<T>(x), *py = data_of<T>(y);
      T* po = data_of<T>(out);
      at::parallel_for(0, x.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t b = begin; b < end; ++b) {
          const std::int64_t at = b * count * dim;
          gated_add_rows(count, dim, px + at, py + at, pg + b * gate.stride(0), po + at);
        }
      });
    });
    ctx->save_for_backward({y, gate});
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor &y = saved[0], &gate = saved[1];
    const torch::Tensor g = grads[0].contiguous();
    torch::Tensor dy = torch::empty_like(y);
    const std::int64_t count = y.size(1), dim = y.size(2);
    torch::Tensor dgate = torch::empty({y.size(0), dim});
    const float* pgate = gate.const_data_ptr<float>();
    float* pdgate = dgate.mutable_data_ptr<float>();
    by_type(y, [&](auto type) {
      using T = decltype(type);
      const T *py = data_of<T>(y), *pg = data_of<T>(g);
      T* pdy = data_of<T>(dy);
      at::parallel_for(0, y.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t b = begin; b < end; ++b) {
          const std::int64_t at = b * count * dim;
          gated_add_backward_rows(count, dim, pg + at, py + at, pgate + b * gate.stride(0), pdy + at,
                                  pdgate + b * dim);
        }
      });
    });
    return {g, dy, dgate};
  }
};

class Swiglu : public torch::autograd::Function<Swiglu> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& u_in, const torch::Tensor& v_in) {
    const torch::Tensor u = u_in.contiguous(), v = v_in.contiguous();
    torch::Tensor out = torch::empty_like(u);
    by_type(u, [&](auto type) {
      using T = decltype(type);
      const T *pu = data_of<T>(u), *pv = data_of<T>(v);
      T* po = data_of<T>(out);
      at::parallel_for(0, u.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
        swiglu_range(end - begin, pu + begin, pv + begin, po + begin);
      });
    });
    ctx->save_for_backward({u, v});
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor &u = saved[0], &v = saved[1];
    const torch::Tensor g = grads[0].contiguous();
    torch::Tensor du = torch::empty_like(u), dv = torch::empty_like(v);
    by_type(u, [&](auto type) {
      using T = decltype(type);
      const T *pg = data_of<T>(g), *pu = data_of<T>(u), *pv = data_of<T>(v);
      T *pdu = data_of<T>(du), *pdv = data_of<T>(dv);
      at::parallel_for(0, u.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
        swiglu_backward_range(end - begin, pg + begin, pu + begin, pv + begin, pdu + begin, pdv + begin);
      });
    });
    return {du, dv};
  }
};

}  // namespace

torch::Tensor gated_add(const torch::Tensor& x_BTD, const torch::Tensor& y_BTD,
                        const torch::Tensor& gate_BD) {
  if (!gate_BD.defined() ||
      (!takes_cpu_kernel({x_BTD, y_BTD, gate_BD}) && !takes_bf16_kernel({x_BTD, y_BTD}))) {
    return gated_add_reference(x_BTD, y_BTD, gate_BD);
  }
  return GatedAdd::apply(x_BTD, y_BTD, gate_BD);
}

torch::Tensor gated_add_reference(const torch::Tensor& x_BTD, const torch::Tensor& y_BTD,
                                  const torch::Tensor& gate_BD) {
  return gate_BD.defined() ? x_BTD + gate_BD.unsqueeze(1) * y_BTD : x_BTD + y_BTD;
}

torch::Tensor swiglu(const torch::Tensor& u, const torch::Tensor& v) {
  return takes_cpu_kernel({u, v}) || takes_bf16_kernel({u, v}) ? Swiglu::apply(u, v) : swiglu_reference(u, v);
}

torch::Tensor swiglu_reference(const torch::Tensor& u, const torch::Tensor& v) {
  return at::silu(u) * v;
}

}  // namespace microdit::nn::kernels

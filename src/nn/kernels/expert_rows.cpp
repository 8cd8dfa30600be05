// Gather, gated scatter and their gradients. A sample's rows belong to one task, experts are added in order.
#include "nn/kernels/expert_rows.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/kernels/simd.h"
#include "nn/kernels/typed_data.h"
#include "nn/precision.h"

namespace microdit::nn::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Shape {
  std::int64_t experts, samples, taken, tokens, dim;
};

MICRODIT_CLONES void add_row(std::int64_t dim, float factor, const float* from, float* to) {
  for (std::int64_t i = 0; i < dim; ++i) to[i] += factor * from[i];
}

MICRODIT_CLONES void add_row(std::int64_t dim, float factor, const Bf16* from, float* to) {
  for (std::int64_t i = 0; i < dim; ++i) to[i] += factor * value_of(from[i]);
}

/// to = factor * from; returns from . with.
template <class T>
MICRODIT_INLINE float scale_row_and_dot_of(std::int64_t dim, float factor, const T* from, const T* with,
                                           T* to) {
  Vec sum{}, a, b;
  std::int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    load(a, from + i);
    load(b, with + i);
    sum += a * b;
    a *= factor;
    store(to + i, a);
  }
  float dot = sum_lanes(sum);
  if (const std::int64_t rest = dim - i; rest > 0) {
    for (std::int64_t k = i; k < dim; ++k) dot += value_of(from[k]) * value_of(with[k]);
    load_part(a, from + i, rest);
    a *= factor;
    store_part(to + i, a, rest);
  }
  return dot;
}

MICRODIT_CLONES float scale_row_and_dot(std::int64_t dim, float factor, const float* from, const float* with,
                                        float* to) {
  return scale_row_and_dot_of(dim, factor, from, with, to);
}
MICRODIT_CLONES float scale_row_and_dot(std::int64_t dim, float factor, const Bf16* from, const Bf16* with,
                                        Bf16* to) {
  return scale_row_and_dot_of(dim, factor, from, with, to);
}

/// Calls work(index into [E, N, K], token row in [N T]) for every choice, each sample in one task, experts in
/// order.
template <class Work>
void for_choices(const Shape& s, const std::int64_t* choice, const Work& work) {
  at::parallel_for(0, s.samples, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      for (std::int64_t e = 0; e < s.experts; ++e) {
        for (std::int64_t k = 0; k < s.taken; ++k) {
          const std::int64_t at = (e * s.samples + n) * s.taken + k;
          work(at, n * s.tokens + choice[at]);
        }
      }
    }
  });
}

template <class T>
void copy_chosen(const Shape& s, const T* x, const std::int64_t* choice, T* out) {
  const auto bytes = static_cast<std::size_t>(s.dim) * sizeof(T);
  for_choices(s, choice, [&](std::int64_t at, std::int64_t row) {
    std::memcpy(out + at * s.dim, x + row * s.dim, bytes);
  });
}

/// `gate` null means 1. Sums are fp32.
template <class T>
void add_chosen(const Shape& s, const T* h, const float* gate, const std::int64_t* choice,
                float* zeroed_out) {
  for_choices(s, choice, [&](std::int64_t at, std::int64_t row) {
    add_row(s.dim, gate == nullptr ? 1.0F : gate[at], h + at * s.dim, zeroed_out + row * s.dim);
  });
}

Shape shape_of(const torch::Tensor& choice, std::int64_t tokens, std::int64_t dim) {
  return {choice.size(0), choice.size(1), choice.size(2), tokens, dim};
}

class GatherRows : public torch::autograd::Function<GatherRows> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x_in, const torch::Tensor& choice) {
    const torch::Tensor x = x_in.contiguous();
    const Shape s = shape_of(choice, x.size(1), x.size(2));
    torch::Tensor out = torch::empty({s.experts, s.samples * s.taken, s.dim}, x.options());
    by_type(x, [&](auto type) {
      using T = decltype(type);
      copy_chosen<T>(s, data_of<T>(x), choice.const_data_ptr<std::int64_t>(), data_of<T>(out));
    });
    ctx->save_for_backward({choice});
    ctx->saved_data["tokens"] = s.tokens;
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const torch::Tensor choice = ctx->get_saved_variables()[0], g = grads[0].contiguous();
    const Shape s = shape_of(choice, ctx->saved_data["tokens"].toInt(), g.size(2));
    torch::Tensor dx = torch::zeros({s.samples, s.tokens, s.dim});
    by_type(g, [&](auto type) {
      using T = decltype(type);
      add_chosen<T>(s, data_of<T>(g), nullptr, choice.const_data_ptr<std::int64_t>(),
                    dx.mutable_data_ptr<float>());
    });
    return {dx.to(g.scalar_type()), {}};
  }
};

class CombineRows : public torch::autograd::Function<CombineRows> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& h_in, const torch::Tensor& gate_in,
                               const torch::Tensor& choice, std::int64_t num_tokens) {
    const torch::Tensor h = h_in.contiguous(), gate = gate_in.to(torch::kFloat).contiguous();
    const Shape s = shape_of(choice, num_tokens, h.size(2));
    torch::Tensor out = torch::zeros({s.samples, s.tokens, s.dim});
    by_type(h, [&](auto type) {
      using T = decltype(type);
      add_chosen<T>(s, data_of<T>(h), gate.const_data_ptr<float>(), choice.const_data_ptr<std::int64_t>(),
                    out.mutable_data_ptr<float>());
    });
    ctx->save_for_backward({h, gate, choice});
    return out.to(h.scalar_type());
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor &h = saved[0], &gate = saved[1], &choice = saved[2];
    const torch::Tensor g = grads[0].contiguous();
    const Shape s = shape_of(choice, g.size(1), g.size(2));
    torch::Tensor dh = torch::empty_like(h), dgate = torch::empty_like(gate);
    const float* pgate = gate.const_data_ptr<float>();
    float* pdgate = dgate.mutable_data_ptr<float>();
    by_type(h, [&](auto type) {
      using T = decltype(type);
      const T *pg = data_of<T>(g), *ph = data_of<T>(h);
      T* pdh = data_of<T>(dh);
      for_choices(s, choice.const_data_ptr<std::int64_t>(), [&](std::int64_t at, std::int64_t row) {
        pdgate[at] = scale_row_and_dot(s.dim, pgate[at], pg + row * s.dim, ph + at * s.dim, pdh + at * s.dim);
      });
    });
    return {dh, dgate, {}, {}};
  }
};

/// Rows of [N T, D] that the choices name, as [E, N K].
torch::Tensor flat_rows(const torch::Tensor& choice_ENK, std::int64_t num_tokens) {
  const torch::Tensor first = torch::arange(choice_ENK.size(1), choice_ENK.options()) * num_tokens;
  return (choice_ENK + first.view({1, -1, 1})).flatten(1);
}

}  // namespace

torch::Tensor gather_rows(const torch::Tensor& x_NTD, const torch::Tensor& choice_ENK) {
  return takes_cpu_kernel({x_NTD}) || takes_bf16_kernel({x_NTD}) ? GatherRows::apply(x_NTD, choice_ENK)
                                                                 : gather_rows_reference(x_NTD, choice_ENK);
}

torch::Tensor combine_rows(const torch::Tensor& h_EMD, const torch::Tensor& gate_ENK,
                           const torch::Tensor& choice_ENK, std::int64_t num_tokens) {
  if (!takes_cpu_kernel({h_EMD, gate_ENK}) && !takes_bf16_kernel({h_EMD}))
    return combine_rows_reference(h_EMD, gate_ENK, choice_ENK, num_tokens);
  return CombineRows::apply(h_EMD, gate_ENK, choice_ENK, num_tokens);
}

torch::Tensor gather_rows_reference(const torch::Tensor& x_NTD, const torch::Tensor& choice_ENK) {
  // One index_select per expert: no row twice in one call, so the scatter of its gradient has no collisions.
  const torch::Tensor rows = flat_rows(choice_ENK, x_NTD.size(1)), flat = x_NTD.flatten(0, 1);
  std::vector<torch::Tensor> taken;
  for (std::int64_t e = 0; e < choice_ENK.size(0); ++e) taken.push_back(flat.index_select(0, rows[e]));
  return torch::stack(taken);
}

torch::Tensor combine_rows_reference(const torch::Tensor& h_EMD, const torch::Tensor& gate_ENK,
                                     const torch::Tensor& choice_ENK, std::int64_t num_tokens) {
  const torch::Tensor rows = flat_rows(choice_ENK, num_tokens);
  const torch::Tensor gated = gate_ENK.flatten(1).unsqueeze(-1) * h_EMD;
  torch::Tensor out = torch::zeros({choice_ENK.size(1) * num_tokens, h_EMD.size(2)}, gated.options());
  for (std::int64_t e = 0; e < choice_ENK.size(0); ++e) out.index_add_(0, rows[e], gated[e]);
  // Summed in the gate's type (fp32 under autocast), handed on in the network's, so that the residual stream keeps one type.
  return out.to(h_EMD.scalar_type()).unflatten(0, {choice_ENK.size(1), num_tokens});
}

}  // namespace microdit::nn::kernels

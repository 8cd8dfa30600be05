// Attention over short sequences without copies or transposes of the projections; long ones go to torch's flash kernel.
#include "nn/kernels/attention.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <vector>

#include "nn/flop_counter.h"
#include "nn/kernels/attention_head.h"
#include "nn/kernels/simd.h"
#include "nn/precision.h"

namespace microdit::nn::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Above this many weights per head, keeping them for the backward pass costs more than torch's kernel.
constexpr std::int64_t kMostWeights = 16384;
constexpr std::int64_t kRowGrain = 32;

/// Where the rows of q, k and v lie: `source` [B, rows, parts * W], part `slot`.
struct Packed {
  float* data;
  std::int64_t row;     ///< floats between rows
  std::int64_t sample;  ///< floats between samples
};
Packed packed(const torch::Tensor& source, std::int64_t width, std::int64_t slot) {
  return {source.mutable_data_ptr<float>() + slot * width, source.size(2), source.size(1) * source.size(2)};
}

struct Problem {
  std::int64_t batch, heads, width;
  HeadShape head;
};

Problem problem_of(const torch::Tensor& q_source, const torch::Tensor& kv_source, std::int64_t width,
                   std::int64_t heads) {
  const std::int64_t keys = kv_source.size(1);
  const std::int64_t padded = (keys + kLanes - 1) / kLanes * kLanes;
  return {q_source.size(0), heads, width, {q_source.size(1), keys, padded, width / heads}};
}

/// `seen` as the head's kernel takes it: 1 or 0, zero in the padding; undefined stays so.
torch::Tensor padded_floats(const torch::Tensor& seen_BL, std::int64_t padded) {
  if (!seen_BL.defined()) return {};
  return at::constant_pad_nd(seen_BL.to(torch::kFloat), {0, padded - seen_BL.size(1)}).contiguous();
}

/// Normalised rows [B, rows, W] of a packed part, and their 1/std.
void normalize(const Packed& from, const torch::Tensor& to_BRW, const torch::Tensor& rstd_BR, double eps) {
  const std::int64_t rows = to_BRW.size(1), width = to_BRW.size(2);
  float *out = to_BRW.mutable_data_ptr<float>(), *rstd = rstd_BR.mutable_data_ptr<float>();
  at::parallel_for(0, to_BRW.size(0) * rows, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      rstd[i] = normalize_row(width, static_cast<float>(eps), from.data + i * from.row, out + i * width);
    }
  });
}

void normalize_backward(const torch::Tensor& xhat_BRW, const torch::Tensor& rstd_BR,
                        const torch::Tensor& dxhat_BRW, const Packed& to) {
  const std::int64_t width = xhat_BRW.size(2);
  const float *xhat = xhat_BRW.const_data_ptr<float>(), *d = dxhat_BRW.const_data_ptr<float>();
  const float* rstd = rstd_BR.const_data_ptr<float>();
  at::parallel_for(
      0, xhat_BRW.size(0) * xhat_BRW.size(1), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          normalize_row_backward(width, rstd[i], xhat + i * width, d + i * width, to.data + i * to.row);
        }
      });
}

HeadRows rows_at(const Packed& part, std::int64_t sample, std::int64_t column) {
  return {part.data + sample * part.sample + column, part.row};
}
Packed whole(const torch::Tensor& t) {
  return packed(t, t.size(2), 0);
}

/// Calls work(sample, first column of the head, index of the head's weights, scratch) for every head of every
/// sample.
template <class Work>
void for_heads(const Problem& p, const Work& work) {
  at::parallel_for(0, p.batch * p.heads, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scratch(static_cast<std::size_t>(head_scratch(p.head)));
    for (std::int64_t i = begin; i < end; ++i) {
      work(i / p.heads, i % p.heads * p.head.dim, i * p.head.queries * p.head.padded, scratch.data());
    }
  });
}

/// Without `kv`, q holds q | k | v.
class Attention : public torch::autograd::Function<Attention> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& q_in,
                               const std::optional<torch::Tensor>& kv_in, std::int64_t num_heads, double eps,
                               const std::optional<torch::Tensor>& seen_in) {
    const torch::Tensor q_source = q_in.contiguous();
    const torch::Tensor kv_source = kv_in ? kv_in->contiguous() : q_source;
    const std::int64_t first = kv_in ? 0 : 1;
    const std::int64_t width = kv_in ? q_in.size(2) : q_in.size(2) / 3;
    const Problem p = problem_of(q_source, kv_source, width, num_heads);
    const torch::Tensor q = torch::empty({p.batch, p.head.queries, width}),
                        k = torch::empty({p.batch, p.head.keys, width});
    const torch::Tensor q_rstd = torch::empty({p.batch, p.head.queries}),
                        k_rstd = torch::empty({p.batch, p.head.keys});
    normalize(packed(q_source, width, 0), q, q_rstd, eps);
    normalize(packed(kv_source, width, first), k, k_rstd, eps);
    const torch::Tensor weights = torch::empty({p.batch, num_heads, p.head.queries, p.head.padded});
    torch::Tensor out = torch::empty({p.batch, p.head.queries, width});
    const Packed pq = whole(q), pk = whole(k), pv = packed(kv_source, width, first + 1), po = whole(out);
    float* pw = weights.mutable_data_ptr<float>();
    const torch::Tensor seen = padded_floats(seen_in.value_or(torch::Tensor()), p.head.padded);
    const float* ps = seen.defined() ? seen.const_data_ptr<float>() : nullptr;
    for_heads(p, [&](std::int64_t b, std::int64_t column, std::int64_t at, float* scratch) {
      HeadShape head = p.head;
      head.seen = ps == nullptr ? nullptr : ps + b * head.padded;
      attend_head(head, rows_at(pq, b, column), rows_at(pk, b, column), rows_at(pv, b, column),
                  rows_at(po, b, column), pw + at, scratch);
    });
    ctx->save_for_backward({kv_source, q, k, q_rstd, k_rstd, weights});
    ctx->saved_data["packed_self"] = !kv_in.has_value();
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor &kv_source = saved[0], &q = saved[1], &k = saved[2], &weights = saved[5];
    const bool packed_self = ctx->saved_data["packed_self"].toBool();
    const std::int64_t width = q.size(2), first = packed_self ? 1 : 0;
    const Problem p = problem_of(q, kv_source, width, weights.size(1));
    const torch::Tensor dout = grads[0].contiguous();
    const torch::Tensor dkv_source = torch::empty_like(kv_source);
    const torch::Tensor dq_source = packed_self ? dkv_source : torch::empty_like(q);
    const torch::Tensor dq = torch::empty_like(q), dk = torch::empty_like(k);
    const Packed pq = whole(q), pk = whole(k), pv = packed(kv_source, width, first + 1), pdo = whole(dout);
    const Packed pdq = whole(dq), pdk = whole(dk), pdv = packed(dkv_source, width, first + 1);
    const float* pw = weights.const_data_ptr<float>();
    for_heads(p, [&](std::int64_t b, std::int64_t column, std::int64_t at, float* scratch) {
      attend_head_backward(p.head, rows_at(pq, b, column), rows_at(pk, b, column), rows_at(pv, b, column),
                           pw + at, rows_at(pdo, b, column), rows_at(pdq, b, column), rows_at(pdk, b, column),
                           rows_at(pdv, b, column), scratch);
    });
    normalize_backward(q, saved[3], dq, packed(dq_source, width, 0));
    normalize_backward(k, saved[4], dk, packed(dkv_source, width, first));
    return {dq_source, packed_self ? torch::Tensor() : dkv_source, {}, {}, {}};
  }
};

bool is_short(const torch::Tensor& q, const torch::Tensor& kv, std::int64_t width, std::int64_t num_heads) {
  const std::int64_t keys = kv.defined() ? kv.size(1) : q.size(1);
  return (width / num_heads) % kLanes == 0 && q.size(1) > 0 && keys > 0 && q.size(1) * keys <= kMostWeights;
}

bool takes_either_kernel(const torch::Tensor& q, const torch::Tensor& kv) {
  return takes_cpu_kernel({q, kv}) || takes_bf16_kernel({q, kv});
}

/// The fp32 kernel where it fits, else nothing; bf16 goes through it and comes back.
torch::Tensor attend_short(const torch::Tensor& q, const torch::Tensor& kv, std::int64_t width,
                           std::int64_t num_heads, double eps, const torch::Tensor& seen) {
  if (!is_short(q, kv, width, num_heads)) return {};
  if (FlopCounter* counter = FlopCounter::active(); counter != nullptr && takes_either_kernel(q, kv)) {
    const std::int64_t keys = kv.defined() ? kv.size(1) : q.size(1);
    counter->add(4.0 * static_cast<double>(q.size(0) * q.size(1) * keys * width), q, kv.defined() ? kv : q);
  }
  const auto attend = [&](const torch::Tensor& q32, const torch::Tensor& kv32) {
    return Attention::apply(q32, kv32.defined() ? std::optional(kv32) : std::nullopt, num_heads, eps,
                            seen.defined() ? std::optional(seen) : std::nullopt);
  };
  if (takes_cpu_kernel({q, kv})) return attend(q, kv);
  if (!takes_bf16_kernel({q, kv})) return {};
  return attend(q.to(torch::kFloat), kv.defined() ? kv.to(torch::kFloat) : kv).to(torch::kBFloat16);
}

torch::Tensor attend_reference(const torch::Tensor& q_BTW, const torch::Tensor& k_BLW,
                               const torch::Tensor& v_BLW, std::int64_t num_heads, double eps,
                               const torch::Tensor& seen_BL) {
  const std::int64_t width = q_BTW.size(2);
  const auto heads = [&](const torch::Tensor& t) {
    return t.unflatten(2, {num_heads, width / num_heads}).transpose(1, 2);
  };
  const torch::Tensor q = at::layer_norm(q_BTW, {width}, {}, {}, eps).to(v_BLW.scalar_type());
  const torch::Tensor k = at::layer_norm(k_BLW, {width}, {}, {}, eps).to(v_BLW.scalar_type());
  std::optional<torch::Tensor> seen;
  if (seen_BL.defined()) seen = seen_BL.unsqueeze(1).unsqueeze(1);  // [B, heads, T, L]
  return at::scaled_dot_product_attention(heads(q), heads(k), heads(v_BLW), seen).transpose(1, 2).flatten(2);
}

}  // namespace

torch::Tensor self_attention(const torch::Tensor& qkv_BTW, std::int64_t num_heads, double eps,
                             const torch::Tensor& seen_BT) {
  const torch::Tensor out = attend_short(qkv_BTW, {}, qkv_BTW.size(2) / 3, num_heads, eps, seen_BT);
  return out.defined() ? out : self_attention_reference(qkv_BTW, num_heads, eps, seen_BT);
}

torch::Tensor cross_attention(const torch::Tensor& q_BTW, const torch::Tensor& kv_BLW, std::int64_t num_heads,
                              double eps, const torch::Tensor& seen_BL) {
  const torch::Tensor out = attend_short(q_BTW, kv_BLW, q_BTW.size(2), num_heads, eps, seen_BL);
  return out.defined() ? out : cross_attention_reference(q_BTW, kv_BLW, num_heads, eps, seen_BL);
}

torch::Tensor self_attention_reference(const torch::Tensor& qkv_BTW, std::int64_t num_heads, double eps,
                                       const torch::Tensor& seen_BT) {
  const auto parts = qkv_BTW.chunk(3, 2);
  return attend_reference(parts[0], parts[1], parts[2], num_heads, eps, seen_BT);
}

torch::Tensor cross_attention_reference(const torch::Tensor& q_BTW, const torch::Tensor& kv_BLW,
                                        std::int64_t num_heads, double eps, const torch::Tensor& seen_BL) {
  const auto parts = kv_BLW.chunk(2, 2);
  return attend_reference(q_BTW, parts[0], parts[1], num_heads, eps, seen_BL);
}

}  // namespace microdit::nn::kernels

// oneDNN's fp32 product behind torch's dispatcher, and autograd around it.
#include "nn/kernels/matmul.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "nn/flop_counter.h"
#include "nn/precision.h"

namespace microdit::nn::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<torch::Tensor>;

/// x [M, K], w [N, K] -> x w^T (+ bias).
using LinearPointwise = torch::Tensor(const torch::Tensor&, const torch::Tensor&, const OptionalTensor&,
                                      c10::string_view, c10::List<std::optional<at::Scalar>>,
                                      std::optional<c10::string_view>);

/// Empty in a LibTorch without oneDNN.
std::optional<c10::TypedOperatorHandle<LinearPointwise>> find_onednn() {
  const auto handle = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  if (!handle || !at::globalContext().userEnabledMkldnn()) return std::nullopt;
  return handle->typed<LinearPointwise>();
}

torch::Tensor product_transposed(const torch::Tensor& x_MK, const torch::Tensor& w_NK,
                                 const OptionalTensor& bias_N) {
  static const auto onednn = find_onednn();
  const bool degenerate = x_MK.numel() == 0 || w_NK.numel() == 0;
  if (!onednn || degenerate) return bias_N ? at::addmm(*bias_N, x_MK, w_NK.t()) : at::mm(x_MK, w_NK.t());
  return onednn->call(x_MK, w_NK, bias_N, "none", c10::List<std::optional<at::Scalar>>(), "");
}

torch::Tensor rows(const torch::Tensor& t) {
  return t.reshape({-1, t.size(-1)});
}

class LinearFunction : public torch::autograd::Function<LinearFunction> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x, const torch::Tensor& weight,
                               const OptionalTensor& bias) {
    ctx->save_for_backward({x, weight});
    ctx->saved_data["bias"] = bias.has_value();
    std::vector<std::int64_t> shape = x.sizes().vec();
    shape.back() = weight.size(0);
    return product_transposed(rows(x), weight, bias).view(shape);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1];
    const torch::Tensor g = rows(grads[0].contiguous());
    torch::Tensor dx, dweight, dbias;
    if (ctx->needs_input_grad(0)) dx = matrix_product(g, weight).view(x.sizes());
    if (ctx->needs_input_grad(1)) dweight = matrix_product(g.t(), rows(x));
    if (ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2)) dbias = g.sum(0);
    return {dx, dweight, dbias};
  }
};

/// Per expert, so that the wide hidden rows are never copied into one tensor.
class ExpertMlp : public torch::autograd::Function<ExpertMlp> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x_in, const torch::Tensor& w1,
                               const torch::Tensor& w2) {
    const torch::Tensor x = x_in.contiguous();
    torch::Tensor out = torch::empty_like(x);
    variable_list saved{x, w1, w2};
    for (std::int64_t e = 0; e < x.size(0); ++e) {
      const torch::Tensor before = matrix_product(x[e], w1[e]), hidden = at::gelu(before);
      out[e].copy_(matrix_product(hidden, w2[e]));
      saved.push_back(before);
      saved.push_back(hidden);
    }
    ctx->save_for_backward(std::move(saved));
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor &x = saved[0], &w1 = saved[1], &w2 = saved[2];
    const torch::Tensor g = grads[0].contiguous();
    torch::Tensor dx = torch::empty_like(x), dw1 = torch::empty_like(w1), dw2 = torch::empty_like(w2);
    for (std::int64_t e = 0; e < x.size(0); ++e) {
      const torch::Tensor &before = saved[static_cast<std::size_t>(3 + 2 * e)],
                          &hidden = saved[static_cast<std::size_t>(4 + 2 * e)];
      dw2[e].copy_(matrix_product(hidden.t(), g[e]));
      const torch::Tensor dbefore = at::gelu_backward(matrix_product(g[e], w2[e].t()), before);
      dw1[e].copy_(matrix_product(x[e].t(), dbefore));
      dx[e].copy_(matrix_product(dbefore, w1[e].t()));
    }
    return {dx, dw1, dw2};
  }
};

/// As autocast does it: of a parameter once while the outermost scope lives.
torch::Tensor in_bf16(const torch::Tensor& t) {
  return at::autocast::cached_cast(torch::kBFloat16, t, torch::kCPU);
}

}  // namespace

torch::Tensor matrix_product(const torch::Tensor& a, const torch::Tensor& b) {
  return product_transposed(a, b.t(), std::nullopt);
}

torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias) {
  const OwnProducts own;
  if (own.counter() != nullptr && x.numel() > 0)
    own.counter()->add_product(1, {x.numel() / x.size(-1), weight.size(0), x.size(-1)}, x, weight);
  if (multiplies_bf16(x))
    return LinearFunction::apply(in_bf16(x), in_bf16(weight),
                                 bias.defined() ? OptionalTensor(in_bf16(bias)) : std::nullopt);
  if (!takes_cpu_kernel({x, weight, bias})) return linear_reference(x, weight, bias);
  return LinearFunction::apply(x, weight, bias.defined() ? OptionalTensor(bias) : std::nullopt);
}

torch::Tensor linear_reference(const torch::Tensor& x, const torch::Tensor& weight,
                               const torch::Tensor& bias) {
  return at::linear(x, weight, bias);
}

torch::Tensor expert_mlp(const torch::Tensor& x_EMD, const torch::Tensor& w1_EDF,
                         const torch::Tensor& w2_EFD) {
  const OwnProducts own;
  if (own.counter() != nullptr) {
    const std::int64_t experts = x_EMD.size(0), rows = x_EMD.size(1), dim = x_EMD.size(2),
                       hidden = w1_EDF.size(2);
    own.counter()->add_product(experts, {rows, hidden, dim}, x_EMD, w1_EDF);
    own.counter()->add_product(experts, {rows, dim, hidden}, w1_EDF, w2_EFD);
  }
  if (multiplies_bf16(x_EMD)) return ExpertMlp::apply(in_bf16(x_EMD), in_bf16(w1_EDF), in_bf16(w2_EFD));
  if (!takes_cpu_kernel({x_EMD, w1_EDF, w2_EFD})) return expert_mlp_reference(x_EMD, w1_EDF, w2_EFD);
  return ExpertMlp::apply(x_EMD, w1_EDF, w2_EFD);
}

torch::Tensor expert_mlp_reference(const torch::Tensor& x_EMD, const torch::Tensor& w1_EDF,
                                   const torch::Tensor& w2_EFD) {
  return at::bmm(at::gelu(at::bmm(x_EMD, w1_EDF)), w2_EFD);
}

}  // namespace microdit::nn::kernels

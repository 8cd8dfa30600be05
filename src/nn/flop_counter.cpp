// Watches torch's operators.
#include "nn/flop_counter.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace microdit::nn {
namespace {

thread_local FlopCounter* current = nullptr;

/// Of a tensor among an operator's arguments; undefined where there is none.
at::Tensor tensor_at(c10::ArrayRef<const c10::IValue> inputs, std::size_t place) {
  return place < inputs.size() && inputs[place].isTensor() ? inputs[place].toTensor() : at::Tensor();
}

void count_product(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined() || !b.defined() || a.dim() < 2 || b.dim() < 2) return;
  const std::int64_t times = a.dim() == 3 ? a.size(0) : 1;
  current->add_product(times, {a.size(-2), b.size(-1), a.size(-1)}, a, b);
}

/// aten::convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups). The operator has not run yet: its
/// output's size follows from the arguments.
void count_convolution(c10::ArrayRef<const c10::IValue> inputs) {
  const at::Tensor x = tensor_at(inputs, 0), weight = tensor_at(inputs, 1);
  if (!x.defined() || !weight.defined() || inputs.size() < 9 || !inputs[3].isIntList()) return;
  const std::vector<std::int64_t> stride = inputs[3].toIntVector(), padding = inputs[4].toIntVector();
  if (stride.empty() || padding.empty()) return;
  double places = static_cast<double>(x.size(0));
  for (std::int64_t axis = 2; axis < x.dim(); ++axis) {
    const auto i = static_cast<std::size_t>(axis - 2);  // one number stands for all axes
    const std::int64_t step = stride[std::min(i, stride.size() - 1)],
                       border = padding[std::min(i, padding.size() - 1)];
    places *= static_cast<double>(
        (x.size(axis) + 2 * border - weight.size(axis)) / std::max<std::int64_t>(step, 1) + 1);
  }
  current->add(2 * places * static_cast<double>(weight.numel()), x, weight);
}

/// q, k, v [B, heads, rows, width]: two products.
void count_attention(const at::Tensor& q, const at::Tensor& k) {
  if (!q.defined() || !k.defined() || q.dim() != 4) return;
  current->add(4.0 * static_cast<double>(q.numel()) * static_cast<double>(k.size(2)), q, k);
}

std::unique_ptr<at::ObserverContext> watch(const at::RecordFunction& function) {
  if (current == nullptr) return nullptr;
  const std::string_view name = function.name();
  const auto inputs = function.inputs();
  if (name == "aten::mm" || name == "aten::bmm")
    count_product(tensor_at(inputs, 0), tensor_at(inputs, 1));
  else if (name == "aten::addmm" || name == "aten::baddbmm")
    count_product(tensor_at(inputs, 1), tensor_at(inputs, 2));
  else if (name == "aten::convolution")
    count_convolution(inputs);
  else if (name.starts_with("aten::_scaled_dot_product_") && name.find("math") == name.npos &&
           name.find("backward") == name.npos)
    count_attention(tensor_at(inputs, 0), tensor_at(inputs, 1));
  return nullptr;
}

}  // namespace

FlopCounter::FlopCounter() {
  core::check(current == nullptr, "two counters of FLOPs on one thread");
  current = this;
  handle_ = at::addThreadLocalCallback(
      at::RecordFunctionCallback(&watch).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
}

FlopCounter::~FlopCounter() {
  stop();
}

void FlopCounter::stop() {
  if (current != this) return;
  at::removeCallback(handle_);
  current = nullptr;
}

FlopCounter* FlopCounter::active() {
  return current;
}

void FlopCounter::add(double flops, const torch::Tensor& a, const torch::Tensor& b) {
  const bool has_graph = torch::GradMode::is_enabled();
  const int factors =
      has_graph ? static_cast<int>(a.requires_grad()) + static_cast<int>(b.requires_grad()) : 2;
  forward_ += flops;
  training_ += flops * (1 + factors);
}

void FlopCounter::add_product(std::int64_t times, const Product& product, const torch::Tensor& a,
                              const torch::Tensor& b) {
  const double flops = 2.0 * static_cast<double>(times) * static_cast<double>(product.m) *
                       static_cast<double>(product.n) * static_cast<double>(product.k);
  products_[product] += flops;
  add(flops, a, b);
}

OwnProducts::OwnProducts() : counter_(std::exchange(current, nullptr)) {}

OwnProducts::~OwnProducts() {
  current = counter_;
}

}  // namespace microdit::nn

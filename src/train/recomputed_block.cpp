// The node.
#include "train/recomputed_block.h"

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/utils.h>

#include "nn/autocast.h"
#include "nn/flop_counter.h"

namespace microdit::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What the backward pass has to know beside the inputs.
struct Call : torch::CustomClassHolder {
  models::BlockFn fn;
  BlockPasses passes;
  std::vector<std::size_t> place;  ///< of each defined input among all
  std::size_t num_inputs = 0;
  c10::Device device = torch::kCPU;
  bool autocast = false;

  torch::Tensor run(const variable_list& defined) const {
    std::vector<torch::Tensor> inputs(num_inputs);
    for (std::size_t i = 0; i < place.size(); ++i) inputs[place[i]] = defined[i];
    return fn(inputs);
  }
};

class Recomputed : public torch::autograd::Function<Recomputed> {
 public:
  /// `inputs`: the defined ones, and last one that requires a gradient and is not used, or the node would not be in the graph.
  static torch::Tensor forward(AutogradContext* ctx, at::TensorList inputs, c10::intrusive_ptr<Call> call) {
    const variable_list defined(inputs.begin(), inputs.end() - 1);
    ctx->save_for_backward(defined);
    ctx->saved_data["call"] =
        c10::IValue::make_capsule(c10::static_intrusive_pointer_cast<torch::CustomClassHolder>(call));
    call->passes.before_forward();
    if (nn::FlopCounter::active() != nullptr) {  // which looks at the graph
      const torch::AutoGradMode with_graph(true);
      call->run(defined);
    }
    const nn::OwnProducts counted;
    return call->run(defined);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto call = c10::static_intrusive_pointer_cast<Call>(ctx->saved_data["call"].toCapsule());
    variable_list inputs;
    for (const torch::Tensor& saved : ctx->get_saved_variables())
      inputs.push_back(saved.detach().requires_grad_(saved.requires_grad()));
    call->passes.before_backward();
    torch::Tensor out;
    {
      const torch::AutoGradMode with_graph(true);
      const nn::Autocast autocast(call->autocast, call->device);
      out = call->run(inputs);
    }
    torch::autograd::backward({out}, {grads[0]});
    call->passes.after_backward();
    variable_list gradients;
    for (const torch::Tensor& input : inputs) gradients.push_back(input.grad());
    gradients.resize(gradients.size() + 2);  // of the unused input and of `call`
    return gradients;
  }
};

}  // namespace

torch::Tensor recomputed(const models::BlockFn& fn, const std::vector<torch::Tensor>& inputs,
                         const BlockPasses& passes) {
  auto call = c10::make_intrusive<Call>();
  call->fn = fn;
  call->passes = passes;
  call->num_inputs = inputs.size();
  variable_list defined;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined()) continue;
    call->place.push_back(i);
    defined.push_back(inputs[i]);
  }
  call->device = defined.front().device();
  call->autocast = at::autocast::is_autocast_enabled(call->device.type());
  defined.push_back(torch::empty({0}, torch::TensorOptions().requires_grad(true)));
  return Recomputed::apply(at::TensorList(defined), call);
}

torch::Tensor plain(const models::BlockFn& fn, const std::vector<torch::Tensor>& inputs) {
  std::vector<torch::Tensor> once = inputs;
  for (torch::Tensor& input : once)
    if (input.defined() && input.requires_grad()) input = at::alias(input);
  return fn(once);
}

}  // namespace microdit::train

// A block as one node of the autograd graph: nothing of its inside is kept, the backward pass runs it again.
#pragma once

#include <functional>
#include <vector>

#include "models/denoiser.h"

namespace microdit::train {

/// What surrounds each run of the block: its weights come and go.
struct BlockPasses {
  std::function<void()> before_forward = [] {};
  std::function<void()> before_backward = [] {};  ///< before it runs again
  std::function<void()> after_backward = [] {};   ///< its parameters' gradients are complete
};

/// fn(inputs). Gradients, of inputs and of the parameters that `fn` uses, are to the bit those of a plain call in which each input is
/// used once (an alias of it inside, used as often as needed). Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
torch::Tensor recomputed(const models::BlockFn& fn, const std::vector<torch::Tensor>& inputs,
                         const BlockPasses& passes);

/// fn(inputs), plainly, with each input used once.
torch::Tensor plain(const models::BlockFn& fn, const std::vector<torch::Tensor>& inputs);

}  // namespace microdit::train

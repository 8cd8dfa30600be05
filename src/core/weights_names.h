// Which tensors of a file are one network's, under the names that its own state dict has.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace microdit::core {

struct NetworkNames {
  std::map<std::string, std::string> stored;  ///< the network's own name -> the name in the file
  std::vector<std::string> others;            ///< of the file: optimizer, frozen encoders, counters
};

/// Of a training checkpoint only the model counts (`state.model.` as Composer has it, `state_dict.`, `model.`); what wraps a
/// network is taken off (`module.`, `_orig_mod.`, `_fsdp_wrapped_module.`); beside `dit.` the original's frozen `vae.` and
/// `text_encoder.` are others. A plain state dict stays as it is. `average`: the averaged weights instead, where a file has both
/// (nano-diffusion's `ema_model_state_dict.ema_model.`). UserError when two names become one, or there is no average.
NetworkNames network_names(const std::vector<std::string>& names, bool average = false);

}  // namespace microdit::core

// Private to core: the tensors that a pickle of torch.save describes. Their forms: torch/_utils.py (_rebuild_tensor,
// _rebuild_tensor_v2, _rebuild_tensor_v3, _rebuild_parameter, _rebuild_parameter_with_state), torch/_tensor.py
// (_rebuild_from_type_v2) and torch/serialization.py (persistent identities of storages).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/pickle.h"
#include "core/safetensors.h"

namespace microdit::core::detail {

struct StorageBytes {
  std::uint64_t bytes = 0;
  std::uint64_t element_bytes = 0;  ///< the legacy format counts elements
  std::uint64_t offset = 0;         ///< in the file: the container's to find
};
/// By the key that the pickle gives each.
using Storages = std::map<std::string, StorageBytes, std::less<>>;

/// All storages that the pickle names, without their offsets. UserError when two of one key differ.
Storages named_storages(const Pickle& pickle);

struct StoredTensor {
  TensorInfo info;                    ///< offset: of the first element; bytes: packed
  std::vector<std::int64_t> strides;  ///< in elements; empty when it is packed in the file, too
};

/// Bytes of the file from its first element to its last.
std::uint64_t view_bytes(const StoredTensor& tensor);

/// What a file of weights holds.
struct StoredTensors {
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string>
      aliases;  ///< of `tensors`: which are the same elements as an earlier one
  std::map<std::string, std::string> unreadable;  ///< names that hold tensors, and why they cannot be read
};

/// Tensors by their path: keys and list positions joined by dots ("state.model.dit.pos_embed"); a bare tensor is called "tensor".
/// UserError (the name, and what is wrong) when a tensor does not fit its storage, a container holds itself, two
/// tensors have one name, or reading all would cost more than TorchLimits allow for a file of `file_bytes`.
StoredTensors find_tensors(const Pickle& pickle, const Storages& storages, std::uint64_t file_bytes);

}  // namespace microdit::core::detail

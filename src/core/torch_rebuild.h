// Private to core: one tensor as a pickle describes it, checked against its storage.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/torch_storage.h"
#include "core/torch_tensors.h"

namespace microdit::core::detail {

/// The arguments of a call (where pickles are read they are checked to be a tuple).
const std::vector<PickleId>& args_of(const Pickle& pickle, const PickleValue& call);

/// _rebuild_tensor, _rebuild_tensor_v2, _rebuild_tensor_v3 of torch._utils.
bool is_plain_tensor(std::string_view called);

/// A tensor's description, still unchecked against its storage.
struct Description {
  TorchStorage storage{};
  const TorchType* type = nullptr;  ///< of the elements
  std::uint64_t first = 0;          ///< element of the storage
  std::vector<std::int64_t> shape{}, strides{};
  std::string unreadable{};  ///< why, if it is
};

/// `args` of one of the three functions: (storage, offset, shape, strides[, requires_grad, hooks[, type][, metadata]]).
/// UserError when they are others.
Description describe_tensor(const Pickle& pickle, const std::string& called,
                            const std::vector<PickleId>& args);

/// Where the elements of a readable one lie. UserError says what does not fit.
StoredTensor place_tensor(const Description& tensor, const StorageBytes& storage);

}  // namespace microdit::core::detail

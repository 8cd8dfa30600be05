// Private to core: element types and storages as PyTorch's pickles name them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/dtype.h"
#include "core/pickle.h"

namespace microdit::core::detail {

struct TorchType {
  std::string_view storage;    ///< class, as in "torch FloatStorage"; "" where only UntypedStorage holds it
  std::string_view name;       ///< as in "torch float32"
  std::uint64_t bytes = 0;     ///< of an element
  std::optional<DType> dtype;  ///< nothing: such tensors are named, not read
};

/// By the name of a storage class ("torch FloatStorage") or of an element type ("torch float32"); null when it is none.
const TorchType* torch_type(std::string_view global);

/// ('storage', class, key, location, numel): torch/serialization.py, persistent_id.
struct TorchStorage {
  std::string_view key;
  const TorchType* type = nullptr;
  std::uint64_t bytes = 0;
};
/// The name of the class that a persistent value stands for, ('module', class, source file, source) of the legacy format: as
/// global_name gives it; "" when it stands for something else.
std::string torch_module_class(const Pickle& pickle, PickleId id);
/// Of a persistent value; UserError when it is no storage.
TorchStorage torch_storage(const Pickle& pickle, PickleId persistent);

}  // namespace microdit::core::detail

// Private to core: the two containers of torch.save: a zip of data.pkl, data/KEY, byteorder and version (torch 1.6 on), and the
// earlier sequence of pickles with the storages behind them. Formats: torch/serialization.py (_save, _legacy_save).
#pragma once

#include "core/input_file.h"
#include "core/torch_tensors.h"
#include "core/weights_file.h"

namespace microdit::core::detail {

enum class TorchContainer { none, zip, legacy };

/// By the first bytes of a file (8 or more).
TorchContainer torch_container(std::string_view begin);

struct TorchContents {
  StoredTensors stored;
  std::map<std::uint64_t, RecordChecksum>
      checksums;  ///< of the storage at an offset, where its writer took one
};

/// UserError says what is wrong, without the file's name.
TorchContents read_torch_file(const InputFile& file, TorchContainer container);

}  // namespace microdit::core::detail

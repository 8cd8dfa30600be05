// Private to core: how much a PyTorch file may ask for. Real ones stay far below: a net of 1.2 billion parameters pickles
// into 0.1 MB, a training checkpoint of it into a few.
#pragma once

#include <cstddef>
#include <cstdint>

namespace microdit::core::detail {

struct TorchLimits {
  static constexpr std::uint64_t pickle_bytes = 64 << 20;  ///< of one pickle
  static constexpr std::uint64_t opcodes = 16'000'000;     ///< of one pickle
  static constexpr std::size_t values = 2'000'000;         ///< that one pickle makes
  static constexpr std::size_t marks = 1 << 16;            ///< open at once
  static constexpr std::size_t integer_bytes = 64;         ///< of one integer
  static constexpr std::size_t global_bytes = 256;         ///< of a module's or a class's name
  static constexpr std::size_t depth = 100;                ///< of containers in one another
  static constexpr std::uint64_t visits = 4'000'000;       ///< of values on the way to the tensors
  static constexpr std::size_t tensors = 1 << 18;          ///< and storages
  static constexpr std::size_t rank = 32;                  ///< of a tensor
  static constexpr std::size_t name_bytes = 1024;          ///< of one tensor's name
  static constexpr std::size_t names_bytes = 32 << 20;     ///< of all names
  static constexpr std::size_t zip_records = 1 << 18;
  static constexpr std::uint64_t zip_directory_bytes = 64 << 20;
  /// What reading all tensors once may cost: so many times the file and so much more (views can say more than is stored).
  static constexpr std::uint64_t cost_factor = 4;
  static constexpr std::uint64_t cost_bytes = 64 << 20;
  static constexpr std::uint64_t view_bytes = 1 << 30;  ///< of storage under one view that is not contiguous
};

}  // namespace microdit::core::detail

// How much a file of statistics, or a network's file, may ask for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace microdit::score {

struct Limits {
  static constexpr std::int64_t dims = 8192;                ///< of features; FID's are 2048
  static constexpr std::uint64_t array_bytes = 1ULL << 30;  ///< of one array of an .npz, header and all
  static constexpr std::size_t npy_header_bytes = 1 << 16;  ///< numpy writes 118
  static constexpr std::size_t text_bytes = 1 << 20;        ///< of a text in an .npz
};

}  // namespace microdit::score

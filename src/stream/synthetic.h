// Made-up samples: to try a training, or to measure it, without data.
#pragma once

#include <memory>

#include "stream/row_source.h"

namespace microdit::stream {

/// `count` samples of this shape; values are normal with the standard deviation 0.5, a function of (seed, sample).
std::unique_ptr<RowSource> make_synthetic(const RowShape& shape, std::int64_t count, std::uint64_t seed);

}  // namespace microdit::stream

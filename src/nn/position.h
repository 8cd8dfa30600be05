// Fixed sine and cosine embeddings of patch positions.
#pragma once

#include <torch/types.h>

namespace microdit::nn {

/// [1, side * side, dim]: for each patch sin | cos of its column over dim/2, then of its row; positions are
/// divided by `interpolation_scale` (2 for twice the resolution). dim must be a multiple of 4.
torch::Tensor position_embedding(std::int64_t side, std::int64_t dim, double interpolation_scale);

}  // namespace microdit::nn

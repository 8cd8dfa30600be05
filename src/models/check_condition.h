// What networks demand of what they are conditioned on.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace microdit::models {

/// UserError: no int64 [batch], or (looked at on the CPU) a number beyond the table's `rows`, of which the first `num_classes` are classes.
void check_classes(const torch::Tensor& class_B, std::int64_t batch, std::int64_t rows,
                   std::int64_t num_classes);
/// UserError: not [batch, L, width] with a row at least.
void check_text(const torch::Tensor& text_BLD, std::int64_t batch, std::int64_t width);

}  // namespace microdit::models

// What both encoders' rows share on their way into a shard's column.
#pragma once

#include <torch/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "store/shard.h"

namespace microdit::ingest {

/// The bytes of a packed tensor on the CPU, which must outlive them.
std::span<const std::byte> bytes_of(const torch::Tensor& packed);

/// Appends rows as they lie in memory; the column's shape behind the rows is known already.
void append_rows(store::Column& column, const torch::Tensor& rows);

/// Throws UserError when a row of `half` is not finite; `values` are the same before rounding, `names` say whose row
/// it is.
void check_fits(const torch::Tensor& values, const torch::Tensor& half, const std::string& what,
                const std::vector<std::string>& names);

}  // namespace microdit::ingest

// Rows of tensors as bytes.
#include "ingest/encode_rows.h"

#include <torch/utils.h>

#include "core/error.h"

namespace microdit::ingest {

std::span<const std::byte> bytes_of(const torch::Tensor& packed) {
  core::check(packed.is_cpu() && packed.is_contiguous(), "rows are not packed");
  return {static_cast<const std::byte*>(packed.const_data_ptr()), packed.nbytes()};
}

void append_rows(store::Column& column, const torch::Tensor& rows) {
  const torch::Tensor packed = rows.contiguous();
  const std::span<const std::byte> bytes = bytes_of(packed);
  column.bytes.insert(column.bytes.end(), bytes.begin(), bytes.end());
  column.shape[0] += packed.size(0);
}

void check_fits(const torch::Tensor& values, const torch::Tensor& half, const std::string& what,
                const std::vector<std::string>& names) {
  const torch::Tensor bad = half.isfinite().logical_not().flatten(1).any(1);
  if (!bad.any().item<bool>()) return;
  const auto row = bad.to(torch::kInt64).argmax().item<std::int64_t>();
  core::user_error("{} of '{}' do not fit into fp16 (largest {}): check the encoder and its scaling factor",
                   what, names[static_cast<std::size_t>(row)], values[row].abs().max().item<double>());
}

}  // namespace microdit::ingest

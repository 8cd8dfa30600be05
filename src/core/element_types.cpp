// Element types of weights, and of what is none.
#include "core/element_types.h"

#include <fmt/format.h>

namespace microdit::core {

bool is_dtype(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(DType::u64); ++i)
    if (name_of(static_cast<DType>(i)) == name) return true;
  return false;
}

std::string foreign_type(std::string_view name) {
  return fmt::format(
      "its element type is {}, which nothing here computes in; write it as F32, F16 or BF16 first (in "
      "Python: tensor.to(torch.bfloat16), multiplied by its scale if the file has one)",
      name);
}

bool is_floating(DType dtype) {
  return dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f32 || dtype == DType::f64;
}

}  // namespace microdit::core

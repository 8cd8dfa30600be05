// Shapes, and numbers where looking costs nothing.
#include "models/check_condition.h"

#include "core/error.h"

namespace microdit::models {

void check_classes(const torch::Tensor& class_B, std::int64_t batch, std::int64_t rows,
                   std::int64_t num_classes) {
  if (!class_B.defined() || class_B.dim() != 1 || class_B.size(0) != batch ||
      class_B.scalar_type() != torch::kLong)
    core::user_error("the classes are {}; the model takes whole numbers (int64) [{}]",
                     class_B.defined() ? c10::str(class_B.sizes()) : "missing", batch);
  if (!class_B.is_cpu() || batch == 0)
    return;  // on a GPU an index beyond the table is the device's own fault
  const auto least = class_B.min().item<std::int64_t>(), most = class_B.max().item<std::int64_t>();
  if (least < 0 || most >= rows)
    core::user_error("class {} of a batch: the model has {} classes, 0 to {} (model.num_classes)",
                     least < 0 ? least : most, num_classes, num_classes - 1);
}

void check_text(const torch::Tensor& text_BLD, std::int64_t batch, std::int64_t width) {
  if (!text_BLD.defined() || text_BLD.dim() != 3 || text_BLD.size(0) != batch || text_BLD.size(1) < 1 ||
      text_BLD.size(2) != width)
    core::user_error("text has shape {}; the model takes [{}, L, {}] (caption_channels)",
                     text_BLD.defined() ? c10::str(text_BLD.sizes()) : "none", batch, width);
}

}  // namespace microdit::models

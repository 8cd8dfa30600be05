// Rows of a batch as tensors.
#include "eval/batch_condition.h"

#include <torch/utils.h>

#include <algorithm>

#include "core/error.h"

namespace microdit::eval {
namespace {

torch::Tensor classes_of(const stream::Batch& batch, std::int64_t first, std::int64_t count,
                         const models::DenoiserConfig& model) {
  torch::Tensor classes = torch::empty({count}, torch::kLong);
  std::int64_t* out = classes.mutable_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto row = static_cast<std::size_t>(first + i);
    const bool dropped = model.learned_null && batch.captioned[row] == 0;
    out[i] = dropped ? model.num_classes : batch.classes[row];
    if (!dropped && (out[i] < 0 || out[i] >= model.num_classes))
      core::user_error("sample {} of the data {}; the model has {} (model.num_classes)", batch.sample[row],
                       out[i] < 0 ? std::string("has no class") : fmt::format("is of class {}", out[i]),
                       model.num_classes);
  }
  return classes;
}

}  // namespace

torch::Tensor half_rows(const stream::HostBuffer<std::uint16_t>& values, std::int64_t first,
                        at::IntArrayRef shape) {
  std::int64_t row = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) row *= shape[i];
  auto* data = const_cast<std::uint16_t*>(values.data()) + first * row;
  return torch::from_blob(data, shape, torch::kFloat16);
}

torch::Tensor captioned_rows(const stream::Batch& batch, std::int64_t first, std::int64_t count) {
  torch::Tensor rows = torch::empty({count}, torch::kUInt8);
  std::copy_n(batch.captioned.begin() + first, count, rows.mutable_data_ptr<std::uint8_t>());
  return rows;
}

diffusion::Condition batch_condition(const stream::Batch& batch, std::int64_t first, std::int64_t count,
                                     const stream::RowShape& shape, const models::DenoiserConfig& model,
                                     CaptionEncoder* encoder, torch::Device device) {
  diffusion::Condition condition;
  if (model.takes_classes()) condition.class_B = classes_of(batch, first, count, model).to(device);
  if (!model.takes_text()) return condition;
  const auto mask_BL = [&] {
    auto* lengths = const_cast<std::int32_t*>(batch.text_length.data()) + first;
    return torch::arange(shape.text_length) < torch::from_blob(lengths, {count, 1}, torch::kInt32);
  };
  if (model.text_conditioner) {
    auto* ids = const_cast<std::int32_t*>(batch.ids.data()) + first * shape.text_length;
    condition.tokens_BL = torch::from_blob(ids, {count, shape.text_length}, torch::kInt32).to(torch::kLong);
    condition.text_mask_BL = mask_BL();
    return condition;
  }
  condition.text_BLD = encoder != nullptr
                           ? encoder->rows(batch, first, count)
                           : half_rows(batch.text, first, {count, shape.text_length, shape.text_width})
                                 .to(device)
                                 .to(torch::kFloat32);  // there: half the bytes to copy
  if (model.text_mask) condition.text_mask_BL = mask_BL().to(device);
  return condition;
}

diffusion::Condition on_device(const diffusion::Condition& condition, torch::Device device) {
  const auto moved = [&](const torch::Tensor& tensor) {
    return tensor.defined() ? tensor.to(device) : tensor;
  };
  if (condition.tokens_BL.defined())  // they stay until their rows are made
    return {{}, condition.text_mask_BL, moved(condition.class_B), condition.tokens_BL};
  return {moved(condition.text_BLD), moved(condition.text_mask_BL), moved(condition.class_B)};
}

}  // namespace microdit::eval

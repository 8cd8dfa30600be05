// What went into pictures and came out, as a file.
#include <torch/utils.h>

#include "eval/painter.h"
#include "nn/state_dict.h"

namespace microdit::eval {

void write_latents(const std::filesystem::path& file, const Painting& painting) {
  nn::StateDict tensors{{"unit", painting.unit_BCHW}, {"sample", painting.sample_BCHW}};
  const auto also = [&](const std::string& name, const torch::Tensor& tensor) {
    if (tensor.defined()) tensors.emplace(name, tensor);
  };
  const auto also_text = [&](const std::string& name, const torch::Tensor& rows, const torch::Tensor& mask,
                             const torch::Tensor& ids) {
    also(name, rows);
    also(name + "_mask", mask);
    if (!ids.defined()) return;
    const std::string prefix = name == "text" ? "" : name + "_";
    also(prefix + "tokens", ids.to(torch::kLong));
    also(name + "_length", mask.sum(1).to(torch::kLong));
  };
  also_text("text", painting.text_BLD, painting.text_mask_BL, painting.tokens_BL);
  also_text("negative", painting.negative_BLD, painting.negative_mask_BL, painting.negative_tokens_BL);
  for (const auto& [name, classes] :
       {std::pair{"class", painting.class_B}, std::pair{"negative_class", painting.negative_class_B}})
    if (classes.defined()) tensors.emplace(name, classes.to(torch::kLong));
  nn::save_tensors(file, tensors);
}

}  // namespace microdit::eval

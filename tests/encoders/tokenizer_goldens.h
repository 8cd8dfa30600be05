// The small tokenizers of scripts/make_token_goldens.py, and T5's once more as tokenizer.json.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"

namespace microdit::encoders {

inline std::filesystem::path golden_folder(const std::string& name) {
  return std::filesystem::path(MICRODIT_SOURCE_DIR) / "tests/encoders/goldens" / name;
}

std::string encode_base64(const std::string& bytes);

/// The tokenizer.json that transformers makes of the goldens' spiece.model.
core::Json t5_tokenizer_json();

/// The same as a file in `folder`.
void write_t5_json_folder(const std::filesystem::path& folder);

}  // namespace microdit::encoders

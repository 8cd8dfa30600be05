// T5's tokenizer, as transformers 5.23 has it.
#pragma once

#include <filesystem>
#include <memory>

#include "core/json.h"
#include "encoders/tokenizer.h"

namespace microdit::encoders {

/// transformers' T5Tokenizer (tokenizers 0.23), which reads both files by the same rules: added tokens, the charsmap, words at
/// white space and "▁" in front, unigram, </s> at the end; pads with <pad>. (The library sentencepiece itself composes characters and
/// splits at white space otherwise, in rare texts: combining marks, U+0085, conjoining jamo.)
/// `folder` holds spiece.model, to which <extra_id_99> .. <extra_id_0> are appended, or tokenizer.json (`json`, else null).
/// UserError: a damaged file, another kind of model, specials that are not there.
std::unique_ptr<Tokenizer> load_t5_tokenizer(const std::filesystem::path& folder, const core::Json& json);

}  // namespace microdit::encoders

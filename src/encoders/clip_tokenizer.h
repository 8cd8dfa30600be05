// CLIP's tokenizers, as open_clip and as transformers have them.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/json.h"
#include "encoders/added_tokens.h"
#include "encoders/bpe_model.h"
#include "encoders/tokenizer.h"

namespace microdit::encoders {

/// open_clip 3.3's SimpleTokenizer with clean "lower": `clean`, words, BPE; <start_of_text> and <end_of_text> spelt out in the
/// text are themselves; pads are 0. `vocabulary`: with or without the two specials at its end.
std::unique_ptr<Tokenizer> make_open_clip_tokenizer(BpeVocabulary vocabulary,
                                                    std::string (*clean)(std::string_view));

/// transformers 5.23's CLIPTokenizer (tokenizers 0.23): added tokens, transformers_clean, words, BPE; pads per settings.
/// UserError: specials that the vocabulary does not have.
std::unique_ptr<Tokenizer> make_transformers_clip_tokenizer(BpeVocabulary vocabulary,
                                                            const AddedTokens& added);

/// The class's own specials, where a folder's settings say nothing.
std::map<std::string, AddedToken> clip_named_tokens();

}  // namespace microdit::encoders

// spiece.model: sentencepiece's ModelProto, as far as a unigram tokenizer needs it.
#pragma once

#include <filesystem>
#include <string_view>

#include "encoders/unigram_model.h"

namespace microdit::encoders {

/// Pieces, scores, the unknown piece and the normaliser's charsmap of a ModelProto (sentencepiece_model.proto; protobuf's wire
/// format). UserError names the file and the byte: a length beyond the message, a wrong wire type, a model that is no unigram
/// or falls back to bytes.
UnigramVocabulary parse_sentencepiece(std::string_view bytes, const std::filesystem::path& path);

}  // namespace microdit::encoders

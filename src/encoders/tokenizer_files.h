// Reading what tokenizer files hold, within bounds (tokenizer_limits.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/json.h"
#include "encoders/bpe_model.h"

namespace microdit::encoders {

/// The whole file. UserError when it is missing, empty, larger than `largest` bytes, or a Git LFS pointer.
std::string read_tokenizer_file(const std::filesystem::path& path, std::uintmax_t largest);

/// The JSON object in a file of at most `largest` bytes.
core::Json read_tokenizer_json(const std::filesystem::path& path, std::uintmax_t largest);

/// bpe_simple_vocab_16e6.txt.gz of OpenAI's CLIP and open_clip: a line of heading, then a merge per line, of which the first
/// 48,894 count. Ids: bytes, bytes that close a word, merges in order; the two specials follow. UserError: a stream that is
/// cut short or unpacks to more than the limit, a line that is no merge, a piece that comes twice.
BpeVocabulary read_clip_merges_gz(const std::filesystem::path& path);

/// vocab.json (piece -> id) and merges.txt (a merge per line, "#version" lines skipped) of transformers.
BpeVocabulary read_vocab_and_merges(const std::filesystem::path& vocabulary,
                                    const std::filesystem::path& merges);

/// `model` of a tokenizer.json (tokenizers 0.23: merges as "a b" or ["a", "b"]). UserError when it is no BPE with "</w>".
BpeVocabulary bpe_of_tokenizer_json(const core::Json& json, const std::filesystem::path& path);

}  // namespace microdit::encoders

// Text -> token ids, as the ecosystem's own files say.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace microdit::encoders {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  /// Ids with specials, at most `max_length` (truncated so that the closing special stays); 0 = no limit. No
  /// padding.
  virtual std::vector<std::int32_t> encode(std::string_view text, std::int64_t max_length = 0) const = 0;
  virtual std::int32_t pad_id() const = 0;
  /// Of all that decides the ids, as it was read (TokenizerDigest).
  const std::string& sha256() const { return sha256_; }

 protected:
  explicit Tokenizer(std::string sha256) : sha256_(std::move(sha256)) {}

 private:
  std::string sha256_;
};

/// Cuts ids to `max_length`; the closing special stays.
void truncate(std::vector<std::int32_t>& ids, std::int64_t max_length);

/// Captions as rows of exactly `length` ids, cut or padded.
struct TokenRows {
  std::vector<std::int32_t> ids;         ///< [captions, length]
  std::vector<std::int64_t> num_tokens;  ///< of each caption as a whole: more than `length` = its end is cut
};
TokenRows tokenize(const Tokenizer& tokenizer, const std::vector<std::string>& captions, std::int64_t length);

/// The end of `text`, from a word's beginning on, that does not fit into `length` ids; empty when all fits.
std::string unseen_end(const Tokenizer& tokenizer, std::string_view text, std::int64_t length);

/// The tokenizer of a folder, chosen by the files in it, first match: open_clip_config.json or bpe_simple_vocab_16e6.txt.gz (CLIP
/// as open_clip has it), vocab.txt (BERT), tokenizer.json (CLIP or T5 by its model), spiece.model (T5), vocab.json with
/// merges.txt (CLIP as transformers has it). Of a pipeline's text_encoder the folder tokenizer beside it. Ids equal those of
/// open_clip 3.3 and transformers 5.23. UserError: none of them, a damaged or unsupported one.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);
/// The same for rows of `length` tokens; UserError when the encoder (config.json, open_clip_config.json) takes no such length.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder, std::int64_t length);

/// BERT WordPiece from a folder's vocab.txt (lower-case, accents stripped; see references for the exact
/// rules).
std::unique_ptr<Tokenizer> load_wordpiece(const std::filesystem::path& folder);

}  // namespace microdit::encoders

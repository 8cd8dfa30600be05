// Tokens that are looked for in the text before anything else: specials and what was added to a vocabulary.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "encoders/bpe_model.h"
#include "encoders/piece_trie.h"

namespace microdit::encoders {

struct AddedToken {
  std::string content;
  bool normalized = false;  ///< looked for in the normalised text, else in the text as it is given
};

/// Splits text at tokens; at each place the longest counts, the leftmost place first.
class AddedTokenSplit {
 public:
  void add(std::string_view content, std::int32_t id) {
    trie_.insert(content, id);
    empty_ = false;
  }
  /// Calls plain(text) for what lies between (never empty) and token(id).
  template <class Plain, class Token>
  void split(std::string_view text, Plain plain, Token token) const {
    std::size_t begin = 0;
    for (std::size_t at = 0; !empty_ && at < text.size();) {
      std::size_t length = 0;
      std::int32_t found = IdTable::kNone;
      trie_.prefixes(text.substr(at), [&](std::size_t bytes, std::int32_t id) {
        length = bytes;
        found = id;
      });
      if (length == 0) {
        ++at;
        continue;
      }
      if (at > begin) plain(text.substr(begin, at - begin));
      token(found);
      begin = at += length;
    }
    if (begin < text.size()) plain(text.substr(begin));
  }

 private:
  PieceTrie trie_;
  bool empty_ = true;
};

/// What transformers 5.23 adds for a folder. Names (bos_token, eos_token, unk_token, pad_token ...) come from
/// tokenizer_config.json; where that has no added_tokens_decoder, over it special_tokens_map.json, and tokens come from
/// added_tokens.json and tokenizer.json. Then follow names and extra specials that are not among these.
struct AddedTokens {
  std::map<std::string, AddedToken> named;  ///< e.g. "pad_token"
  std::vector<AddedToken> all;              ///< a later one of the same content counts
  core::Json config;                        ///< tokenizer_config.json; an empty object when there is none
};

/// `named`: the defaults of the tokenizer's class; `tokenizer_json`: its file, or null. UserError: a file that is no JSON
/// object, a token of the wrong type, over-long, or single_word, which is not supported.
AddedTokens read_added_tokens(const std::filesystem::path& folder, std::map<std::string, AddedToken> named,
                              const core::Json& tokenizer_json);

struct AddedTokenSplits {
  AddedTokenSplit raw, normalized;
};
/// The ids of `tokens`: the vocabulary's, or the next free ones in their order, which `ids` then has too. `normalize` is applied
/// to those that are looked for in normalised text.
AddedTokenSplits make_splits(const std::vector<AddedToken>& tokens,
                             std::string (*normalize)(std::string_view), PieceIds& ids);

}  // namespace microdit::encoders

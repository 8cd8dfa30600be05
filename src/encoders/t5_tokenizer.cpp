// T5: files to a unigram model, text to words.
#include "encoders/t5_tokenizer.h"

#include <unicode/uchar.h>

#include "core/error.h"
#include "core/utf8.h"
#include "encoders/added_tokens.h"
#include "encoders/base64.h"
#include "encoders/charsmap.h"
#include "encoders/code_point.h"
#include "encoders/sentencepiece_file.h"
#include "encoders/tokenizer_digest.h"
#include "encoders/tokenizer_files.h"
#include "encoders/tokenizer_limits.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;
using core::Json;

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581
constexpr std::int32_t kUnknown = 2;                     // where the class puts it, whatever the file says

std::string unchanged(std::string_view text) {
  return std::string(text);
}

std::string extra_id(std::int32_t number) {
  return fmt::format("<extra_id_{}>", number);
}

std::string digest_of(const UnigramVocabulary& vocabulary, const AddedTokens& added) {
  TokenizerDigest digest("t5");
  digest.add(static_cast<std::int64_t>(vocabulary.pieces.size()));
  for (const auto& [piece, score] : vocabulary.pieces) digest.add(std::string_view(piece)).add(score);
  return digest.add(std::int64_t{vocabulary.unknown})
      .add(std::string_view(vocabulary.charsmap))
      .add(added)
      .hex();
}

class T5 final : public Tokenizer {
 public:
  T5(const UnigramVocabulary& vocabulary, const AddedTokens& added)
      : Tokenizer(digest_of(vocabulary, added)),
        model_(vocabulary),
        charsmap_(vocabulary.charsmap, vocabulary.origin) {
    PieceIds ids = model_.ids();
    splits_ = make_splits(added.all, unchanged, ids);
    const auto id_of = [&](const char* name) {
      const std::string& token = added.named.at(name).content;
      const auto found = model_.ids().find(token);
      if (found == model_.ids().end())
        core::user_error("{}: {} is \"{}\", which the vocabulary does not have", vocabulary.origin, name,
                         core::shortened(token, 40));
      return found->second;
    };
    end_ = id_of("eos_token");
    pad_ = id_of("pad_token");
  }

  std::int32_t pad_id() const override { return pad_; }

  std::vector<std::int32_t> encode(std::string_view text, std::int64_t max_length) const override {
    core::check(max_length >= 0, "a length of {}", max_length);
    const std::size_t wanted = max_length > 0 ? static_cast<std::size_t>(max_length) : text.npos;
    std::vector<std::int32_t> ids;
    const auto token = [&](std::int32_t id) { ids.push_back(id); };
    const auto words = [&](std::string_view part) { append_words(part, wanted, ids); };
    const auto plain = [&](std::string_view part) {
      if (ids.size() < wanted) splits_.normalized.split(charsmap_.normalize(part), words, token);
    };
    splits_.raw.split(core::first_invalid_utf8(text) ? core::with_valid_utf8(text) : text, plain, token);
    ids.push_back(end_);
    if (max_length > 0) truncate(ids, max_length);
    return ids;
  }

 private:
  /// Words between white space; a mark stands before each, and begins another one where the text has it.
  void append_words(std::string_view text, std::size_t wanted, std::vector<std::int32_t>& ids) const {
    std::string word;
    const auto flush = [&] {
      if (!word.empty() && ids.size() < wanted) model_.append(word, ids);
      word.clear();
    };
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t begin = at;
      const char32_t c = next_code_point(text, at);
      const std::string_view character = text.substr(begin, at - begin);
      if (u_isUWhiteSpace(static_cast<UChar32>(c))) {
        flush();
        continue;
      }
      if (character == kSpaceMark)
        flush();
      else if (word.empty())
        word = kSpaceMark;
      word += character;
    }
    flush();
  }

  UnigramModel model_;
  Charsmap charsmap_;
  AddedTokenSplits splits_;
  std::int32_t end_, pad_;
};

/// The charsmap of `normalizer`: of itself, or the first of a sequence; "" when there is none.
std::string charsmap_of(const Json& normalizer, const std::string& origin) {
  if (normalizer.is_null()) return "";
  const bool sequence = normalizer.is_object() && normalizer.value("type", Json()) == "Sequence";
  const Json& list = sequence ? normalizer.value("normalizers", Json::array()) : Json::array({normalizer});
  for (const Json& one : list)
    if (one.is_object() && one.value("type", Json()) == "Precompiled" &&
        one.contains("precompiled_charsmap")) {
      const Json& text = one["precompiled_charsmap"];
      const auto bytes = text.is_string() ? decode_base64(text.get_ref<const std::string&>()) : std::nullopt;
      if (!bytes)
        core::user_error("{}: normalizer.precompiled_charsmap is no base64 text; fetch the file again",
                         origin);
      return *bytes;
    }
  return "";
}

UnigramVocabulary parse_tokenizer_json(const Json& json, const fs::path& path) {
  UnigramVocabulary out;
  out.origin = path.string();
  const Json model = json.value("model", Json());
  if (!model.is_object() || model.value("type", Json("Unigram")) != "Unigram" || !model.contains("vocab") ||
      !model["vocab"].is_array() || model.value("byte_fallback", Json(false)) != false)
    core::user_error("{}: model is no unigram without byte_fallback (T5's)", out.origin);
  const Json& pieces = model["vocab"];
  if (pieces.size() > kMostPieces)
    core::user_error("{}: model.vocab has {} pieces (at most {})", out.origin, pieces.size(), kMostPieces);
  for (const Json& piece : pieces) {
    if (!piece.is_array() || piece.size() != 2 || !piece[0].is_string() || !piece[1].is_number())
      core::user_error("{}: model.vocab: entry {} is not [\"piece\", score]", out.origin, out.pieces.size());
    out.pieces.emplace_back(piece[0].get<std::string>(), piece[1].get<double>());
  }
  out.charsmap = charsmap_of(json.value("normalizer", Json()), out.origin);
  return out;
}

std::int32_t num_extra_ids(const Json& config, const fs::path& folder) {
  const Json count = config.value("extra_ids", Json(100));
  if (!count.is_number_integer() || count < 0 || count > kMostExtraIds)
    core::user_error("{}: extra_ids is {}; 0 to {} are possible", (folder / "tokenizer_config.json").string(),
                     core::shortened(count.dump(), 40), kMostExtraIds);
  return count.get<std::int32_t>();
}

}  // namespace

std::unique_ptr<Tokenizer> load_t5_tokenizer(const fs::path& folder, const Json& json) {
  AddedTokens added = read_added_tokens(
      folder, {{"eos_token", {"</s>"}}, {"unk_token", {"<unk>"}}, {"pad_token", {"<pad>"}}}, json);
  const std::int32_t extra_ids = num_extra_ids(added.config, folder);
  UnigramVocabulary vocabulary;
  if (json.is_null()) {
    const fs::path path = folder / "spiece.model";
    vocabulary = parse_sentencepiece(read_tokenizer_file(path, kLargestTokenizerFile), path);
    for (std::int32_t i = extra_ids; i > 0; --i) vocabulary.pieces.emplace_back(extra_id(i - 1), 0.0);
  } else {
    vocabulary = parse_tokenizer_json(json, folder / "tokenizer.json");
  }
  vocabulary.unknown = kUnknown;
  for (const std::string& control : vocabulary.controls) added.all.push_back({control});
  for (std::int32_t i = 0; i < extra_ids; ++i) added.all.push_back({extra_id(i)});
  return std::make_unique<T5>(vocabulary, added);
}

}  // namespace microdit::encoders

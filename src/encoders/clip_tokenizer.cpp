// From text to ids: what both CLIP tokenizers share, and where they part.
#include "encoders/clip_tokenizer.h"

#include <tuple>

#include "core/error.h"
#include "core/utf8.h"
#include "encoders/clip_words.h"
#include "encoders/code_point.h"
#include "encoders/tokenizer_digest.h"

namespace microdit::encoders {
namespace {

constexpr std::string_view kStart = "<|startoftext|>", kEnd = "<|endoftext|>";

std::size_t room(std::int64_t max_length) {
  core::check(max_length == 0 || max_length >= 2, "a length of {} has no room for a start and an end",
              max_length);
  return max_length > 0 ? static_cast<std::size_t>(max_length) : std::string_view::npos;
}

std::string repaired(std::string_view text) {
  return core::first_invalid_utf8(text) ? core::with_valid_utf8(text) : std::string(text);
}

/// The two specials of open_clip's table, which files have or not.
std::pair<std::int32_t, std::int32_t> add_specials(PieceIds& ids) {
  const auto next = static_cast<std::int32_t>(ids.size());
  return {ids.emplace(kStart, next).first->second, ids.emplace(kEnd, next + 1).first->second};
}

std::string digest_of_open_clip(BpeVocabulary vocabulary) {
  add_specials(vocabulary.ids);
  return TokenizerDigest("open_clip").add(vocabulary).hex();
}

class OpenClip final : public Tokenizer {
 public:
  OpenClip(BpeVocabulary vocabulary, std::string (*clean)(std::string_view))
      : Tokenizer(digest_of_open_clip(vocabulary)), model_(vocabulary), clean_(clean) {
    std::tie(start_, end_) = add_specials(vocabulary.ids);
  }

  std::int32_t pad_id() const override { return 0; }

  std::vector<std::int32_t> encode(std::string_view text, std::int64_t max_length) const override {
    const std::size_t wanted = room(max_length);
    std::vector<std::int32_t> ids = {start_};
    const std::string cleaned = clean_(repaired(text));
    for (std::string_view rest = cleaned; !rest.empty() && ids.size() < wanted;) {
      std::size_t bytes = spelt_out(rest, ids);
      if (bytes == 0) {
        bytes = clip_word(rest, ClipRules::kOpenClip);
        if (bytes > 0) model_.append(rest.substr(0, bytes), ids);
      }
      rest.remove_prefix(bytes > 0 ? bytes : code_point_bytes(rest[0]));
    }
    ids.push_back(end_);
    if (max_length > 0) truncate(ids, max_length);
    return ids;
  }

 private:
  /// The bytes of a special at the beginning of `rest`, whose id is appended. U+017F stands for an s in the pattern, but not
  /// in the table of specials: such a word is encoded like any other.
  std::size_t spelt_out(std::string_view rest, std::vector<std::int32_t>& ids) const {
    if (rest[0] != '<') return 0;
    for (const bool start : {true, false}) {
      std::size_t at = 0;
      bool plain = true, same = true;
      for (const char c : std::string_view(start ? "<start_of_text>" : "<end_of_text>")) {
        if (c == 's' && rest.substr(at).starts_with("\xC5\xBF")) {
          plain = false;
          at += 2;
        } else if (at < rest.size() && rest[at] == c) {
          ++at;
        } else {
          same = false;
          break;
        }
      }
      if (!same) continue;
      if (plain)
        ids.push_back(start ? start_ : end_);
      else
        model_.append(rest.substr(0, at), ids);
      return at;
    }
    return 0;
  }

  BpeModel model_;
  std::string (*clean_)(std::string_view);
  std::int32_t start_, end_;
};

class TransformersClip final : public Tokenizer {
 public:
  TransformersClip(BpeVocabulary vocabulary, const AddedTokens& added)
      : Tokenizer(TokenizerDigest("clip").add(vocabulary).add(added).hex()),
        model_(vocabulary),
        splits_(make_splits(added.all, transformers_clean, vocabulary.ids)) {
    const auto id_of = [&](const char* name) {
      const std::string& token = added.named.at(name).content;
      const auto found = vocabulary.ids.find(token);
      if (found == vocabulary.ids.end())
        core::user_error("{}: {} is \"{}\", which the vocabulary does not have", vocabulary.origin, name,
                         core::shortened(token, 40));
      return found->second;
    };
    start_ = id_of("bos_token");
    end_ = id_of("eos_token");
    pad_ = id_of("pad_token");
  }

  std::int32_t pad_id() const override { return pad_; }

  std::vector<std::int32_t> encode(std::string_view text, std::int64_t max_length) const override {
    const std::size_t wanted = room(max_length);
    std::vector<std::int32_t> ids = {start_};
    const auto token = [&](std::int32_t id) { ids.push_back(id); };
    const auto words = [&](std::string_view part) { append_words(part, wanted, ids); };
    const auto plain = [&](std::string_view part) {
      if (ids.size() < wanted) splits_.normalized.split(transformers_clean(part), words, token);
    };
    splits_.raw.split(repaired(text), plain, token);
    ids.push_back(end_);
    if (max_length > 0) truncate(ids, max_length);
    return ids;
  }

 private:
  void append_words(std::string_view rest, std::size_t wanted, std::vector<std::int32_t>& ids) const {
    while (!rest.empty() && ids.size() < wanted) {
      std::size_t bytes = clip_word(rest, ClipRules::kTransformers);
      // The pattern knows the specials as words of their own; byte-level splitting then takes them apart again.
      for (const std::string_view special : {kStart, kEnd})
        if (rest.starts_with(special)) {
          model_.append("<|", ids);
          model_.append(special.substr(2, special.size() - 4), ids);
          rest.remove_prefix(special.size() - 2);
          bytes = 2;  // "|>"
        }
      if (bytes > 0) model_.append(rest.substr(0, bytes), ids);
      rest.remove_prefix(bytes > 0 ? bytes : 1);  // all white space is one blank here
    }
  }

  BpeModel model_;
  AddedTokenSplits splits_;
  std::int32_t start_, end_, pad_;
};

}  // namespace

std::map<std::string, AddedToken> clip_named_tokens() {
  return {{"bos_token", {std::string(kStart)}},
          {"eos_token", {std::string(kEnd)}},
          {"unk_token", {std::string(kEnd)}},
          {"pad_token", {std::string(kEnd)}}};
}

std::unique_ptr<Tokenizer> make_open_clip_tokenizer(BpeVocabulary vocabulary,
                                                    std::string (*clean)(std::string_view)) {
  return std::make_unique<OpenClip>(std::move(vocabulary), clean);
}

std::unique_ptr<Tokenizer> make_transformers_clip_tokenizer(BpeVocabulary vocabulary,
                                                            const AddedTokens& added) {
  return std::make_unique<TransformersClip>(std::move(vocabulary), added);
}

}  // namespace microdit::encoders

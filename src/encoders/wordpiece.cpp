// BERT WordPiece: clean, lower-case, strip accents, split on white space and punctuation, then longest match first.
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <array>
#include <string>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "encoders/tokenizer.h"
#include "encoders/tokenizer_digest.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kLargestVocabulary = 64 << 20;  // bytes
constexpr std::size_t kLongestWord = 100;                // code points; a longer word is unknown as a whole

/// General category as of Unicode 8: the tables of the tokenizer that the ecosystem's ids come from. Later
/// characters are unassigned there, and six have changed their category since.
std::int8_t category_of(UChar32 c) {
  switch (c) {
    case 0x166D:
    case 0x111C9:
      return U_OTHER_PUNCTUATION;
    case 0x1734:
      return U_NON_SPACING_MARK;
    case 0x1885:
    case 0x1886:
      return U_OTHER_LETTER;
    case 0xA9BD:
      return U_COMBINING_SPACING_MARK;
    default:
      break;
  }
  UVersionInfo age;
  u_charAge(c, age);
  return age[0] > 8 ? static_cast<std::int8_t>(U_UNASSIGNED) : u_charType(c);
}

bool is_control(UChar32 c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  const auto category = category_of(c);
  return category == U_CONTROL_CHAR || category == U_FORMAT_CHAR || category == U_PRIVATE_USE_CHAR;
}

bool is_punctuation(UChar32 c) {
  if (c < 128)
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  switch (category_of(c)) {
    case U_DASH_PUNCTUATION:
    case U_START_PUNCTUATION:
    case U_END_PUNCTUATION:
    case U_CONNECTOR_PUNCTUATION:
    case U_OTHER_PUNCTUATION:
    case U_INITIAL_PUNCTUATION:
    case U_FINAL_PUNCTUATION:
      return true;
    default:
      return false;
  }
}

/// Ideographs are words of their own: the ranges as transformers' tokenizer has them (extension E from 2B920,
/// not from its first character 2B820).
bool is_ideograph(UChar32 c) {
  static constexpr std::array<std::pair<UChar32, UChar32>, 8> blocks = {{{0x4E00, 0x9FFF},
                                                                         {0x3400, 0x4DBF},
                                                                         {0x20000, 0x2A6DF},
                                                                         {0x2A700, 0x2B73F},
                                                                         {0x2B740, 0x2B81F},
                                                                         {0x2B920, 0x2CEAF},
                                                                         {0xF900, 0xFAFF},
                                                                         {0x2F800, 0x2FA1F}}};
  for (const auto& [first, last] : blocks)
    if (c >= first && c <= last) return true;
  return false;
}

icu::UnicodeString cleaned(std::string_view text) {
  const auto utf16 = icu::UnicodeString::fromUTF8({text.data(), static_cast<std::int32_t>(text.size())});
  icu::UnicodeString out;
  for (std::int32_t i = 0; i < utf16.length(); i = utf16.moveIndex32(i, 1)) {
    const UChar32 c = utf16.char32At(i);
    if (c == 0 || c == 0xFFFD || is_control(c)) continue;
    if (u_isUWhiteSpace(c))
      out.append(' ');
    else if (is_ideograph(c))
      out.append(' ').append(c).append(' ');
    else
      out.append(c);
  }
  return out;
}

/// Words and single punctuation characters, lower-case and without combining marks.
std::vector<icu::UnicodeString> words_of(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfd = icu::Normalizer2::getNFDInstance(status);
  const icu::UnicodeString decomposed = nfd->normalize(cleaned(text), status);
  core::check(U_SUCCESS(status), "ICU normalisation failed: {}", u_errorName(status));
  std::vector<icu::UnicodeString> words;
  bool open = false;
  for (std::int32_t i = 0; i < decomposed.length(); i = decomposed.moveIndex32(i, 1)) {
    const UChar32 c = u_tolower(decomposed.char32At(i));
    if (category_of(c) == U_NON_SPACING_MARK) continue;
    const bool alone = is_punctuation(c);
    if (u_isUWhiteSpace(c)) {
      open = false;
      continue;
    }
    if (alone || !open) words.emplace_back();
    words.back().append(c);
    open = !alone;
  }
  return words;
}

class WordPiece final : public Tokenizer {
 public:
  /// `path`: of the vocabulary, for messages.
  WordPiece(PieceIds ids, const fs::path& path);
  std::vector<std::int32_t> encode(std::string_view text, std::int64_t max_length) const override;
  std::int32_t pad_id() const override { return pad_; }

 private:
  std::int32_t special(const std::string& token, const fs::path& path) const;
  /// Stops where `wanted` ids are there.
  void append_plain(std::string_view text, std::size_t wanted, std::vector<std::int32_t>& ids) const;
  /// The special token that `text` begins with, or null.
  const std::pair<std::string, std::int32_t>* special_at(std::string_view text) const;
  void append_word(const icu::UnicodeString& word, std::vector<std::int32_t>& ids) const;
  PieceIds ids_;
  std::vector<std::pair<std::string, std::int32_t>> specials_;
  std::int32_t unknown_, first_, last_, pad_;
};

void check_settings(const fs::path& folder) {
  const fs::path path = folder / "tokenizer_config.json";
  if (!fs::exists(path)) return;
  const core::Json settings = core::read_json(path);
  for (const char* key : {"do_lower_case", "strip_accents", "tokenize_chinese_chars"})
    if (settings.contains(key) && settings[key] == false)
      core::user_error("{}: {} is false; only lower-casing WordPiece that strips accents is supported",
                       path.string(), key);
}

PieceIds read_vocabulary(const fs::path& folder, const fs::path& path) {
  if (!fs::exists(path))
    core::user_error("{}: no such file; a WordPiece folder holds its vocabulary there, one token per line",
                     path.string());
  check_settings(folder);
  if (fs::file_size(path) > kLargestVocabulary)
    core::user_error("{}: {} bytes are no vocabulary (at most {} are read)", path.string(),
                     fs::file_size(path), kLargestVocabulary);
  const std::string text = core::read_text(path);
  PieceIds ids;
  std::int32_t id = 0;
  for (std::size_t begin = 0; begin < text.size(); ++id) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string token = text.substr(begin, end - begin);
    if (token.ends_with('\r')) token.pop_back();
    ids[token] = id;
    begin = end + 1;
  }
  return ids;
}

WordPiece::WordPiece(PieceIds ids, const fs::path& path)
    : Tokenizer(TokenizerDigest("wordpiece").add(ids).hex()), ids_(std::move(ids)) {
  unknown_ = special("[UNK]", path);
  first_ = special("[CLS]", path);
  last_ = special("[SEP]", path);
  pad_ = special("[PAD]", path);
  for (const char* token : {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"})
    if (const auto found = ids_.find(token); found != ids_.end()) specials_.emplace_back(*found);
}

std::int32_t WordPiece::special(const std::string& token, const fs::path& path) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) core::user_error("{}: the token {} is missing", path.string(), token);
  return found->second;
}

void WordPiece::append_word(const icu::UnicodeString& word, std::vector<std::int32_t>& ids) const {
  std::string utf8;
  std::vector<std::size_t> ends;  // byte offset behind each code point
  for (std::int32_t i = 0; i < word.length(); i = word.moveIndex32(i, 1)) {
    icu::UnicodeString(word.char32At(i)).toUTF8String(utf8);
    ends.push_back(utf8.size());
  }
  if (ends.size() > kLongestWord) {
    ids.push_back(unknown_);
    return;
  }
  std::vector<std::int32_t> pieces;
  for (std::size_t first = 0; first < ends.size();) {
    const std::size_t begin = first == 0 ? 0 : ends[first - 1];
    std::size_t last = ends.size();
    for (; last > first; --last) {
      const std::string piece = (first == 0 ? "" : "##") + utf8.substr(begin, ends[last - 1] - begin);
      if (const auto found = ids_.find(piece); found != ids_.end()) {
        pieces.push_back(found->second);
        break;
      }
    }
    if (last == first) {  // no piece fits: the whole word is unknown
      ids.push_back(unknown_);
      return;
    }
    first = last;
  }
  ids.insert(ids.end(), pieces.begin(), pieces.end());
}

void WordPiece::append_plain(std::string_view text, std::size_t wanted,
                             std::vector<std::int32_t>& ids) const {
  for (const icu::UnicodeString& word : words_of(text)) {
    if (ids.size() >= wanted) return;
    append_word(word, ids);
  }
}

const std::pair<std::string, std::int32_t>* WordPiece::special_at(std::string_view text) const {
  for (const auto& candidate : specials_)
    if (text.starts_with(candidate.first)) return &candidate;
  return nullptr;
}

std::vector<std::int32_t> WordPiece::encode(std::string_view text, std::int64_t max_length) const {
  core::check(max_length == 0 || max_length >= 2, "a length of {} has no room for [CLS] and [SEP]",
              max_length);
  const std::size_t wanted = max_length > 0 ? static_cast<std::size_t>(max_length) : std::string_view::npos;
  std::vector<std::int32_t> ids = {first_};
  // Special tokens that are spelled out in the text are themselves. All begin with '['.
  std::size_t begin = 0;
  for (std::size_t at = text.find('['); at != std::string_view::npos && ids.size() < wanted;
       at = text.find('[', at)) {
    const auto* special = special_at(text.substr(at));
    if (special == nullptr) {
      ++at;
      continue;
    }
    append_plain(text.substr(begin, at - begin), wanted, ids);
    ids.push_back(special->second);
    begin = at += special->first.size();
  }
  append_plain(text.substr(begin), wanted, ids);
  ids.push_back(last_);
  if (max_length > 0) truncate(ids, max_length);
  return ids;
}

}  // namespace

std::unique_ptr<Tokenizer> load_wordpiece(const fs::path& folder) {
  const fs::path path = folder / "vocab.txt";
  return std::make_unique<WordPiece>(read_vocabulary(folder, path), path);
}

}  // namespace microdit::encoders

// Plain parts stay; what a part loses is made up for by its hash.
#include "ingest/raw_name.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <span>

#include "core/error.h"
#include "core/hash.h"
#include "ingest/hub.h"
#include "store/manifest_text.h"

namespace microdit::ingest {
namespace {

// Bytes: of a name under raw/, records' and temporaries' names are longer by up to 72; a folder allows 255.
constexpr std::size_t kLongestName = 180, kLongestFolders = 60, kLongestStem = 160, kShortestEnd = 10;
constexpr std::size_t kHashDigits = 8, kHashDigitsOfCut = 16;

/// ASCII letters, digits, '-', '_' and '.' as they are.
std::string plain_text(std::string_view text) {
  std::string plain;
  bool in_run = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool foreign = byte >= 0x80;
    if (foreign && !in_run) plain += 'x';
    in_run = foreign;
    if (foreign)
      plain += fmt::format("{:02x}", byte);
    else
      plain += std::isalnum(byte) || c == '-' || c == '_' || c == '.' ? c : '_';
  }
  return plain;
}

/// `plain` where it is `text` itself and at most `longest` bytes (10 at least); else cut, and marked by the text's hash.
std::string kept_apart(std::string_view text, std::string plain, std::size_t longest) {
  if (plain == text && plain.size() <= longest) return plain;
  const std::size_t roomy = longest >= 2 * (kHashDigitsOfCut + 1) ? kHashDigitsOfCut : kHashDigits;
  const std::size_t digits = plain.size() + kHashDigits + 1 > longest ? roomy : kHashDigits;
  plain.resize(std::min(plain.size(), longest - digits - 1));
  return plain + "-" + core::sha256(std::as_bytes(std::span(text))).substr(0, digits);
}

/// Whether a loose file of this stem could have the name of one of the raw folder's own. All of the stem get another then, as
/// they may be one record; archives are none, and none of the folder's files ends as they do.
bool is_taken_stem(std::string_view stem, std::string_view suffix) {
  constexpr std::array<std::string_view, 4> kArchives = {".tar", ".tgz", ".gz", ".zip"};
  if (std::ranges::find(kArchives, suffix) != kArchives.end()) return false;
  return std::ranges::find(store::kOwnStems, stem) != store::kOwnStems.end() ||
         std::string_view(kPinFile) == fmt::format("{}.json", stem);
}

std::string without_dots(std::string plain) {
  std::ranges::replace(plain, '.', '_');
  return plain;
}

}  // namespace

std::string raw_name(std::string_view path) {
  const std::size_t last = path.rfind('/') + 1;  // npos + 1 is 0
  const std::size_t stem_end = std::min(path.find('.', last + 1), path.size());
  const std::size_t suffix_at =
      std::max(path.rfind('.') + 1, stem_end + 1) - 1;  // the last dot behind the stem
  const std::string_view folders = path.substr(0, last), stem = path.substr(last, stem_end - last);
  const std::string_view middle = path.substr(stem_end, suffix_at - stem_end),
                         suffix = path.substr(suffix_at);
  std::string name;
  if (!folders.empty()) {
    const std::string plain = without_dots(plain_text(folders.substr(0, last - 1)));
    name = kept_apart(folders, plain, kLongestFolders) + "_";
  }
  const bool is_taken = folders.empty() && is_taken_stem(stem, suffix);
  name +=
      kept_apart(stem, without_dots(plain_text(stem)) + (is_taken ? "_" : ""), kLongestStem - name.size());
  name += kept_apart(middle, plain_text(middle), kLongestName - kShortestEnd - name.size());
  // "x.failed.json" and "x.part.json" are no records of "x.failed" and "x.part".
  const bool has_taken_end = suffix == ".failed" || suffix == ".part";
  return name +
         kept_apart(suffix, plain_text(suffix) + (has_taken_end ? "_" : ""), kLongestName - name.size());
}

}  // namespace microdit::ingest

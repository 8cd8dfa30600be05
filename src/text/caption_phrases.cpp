// File names and the set phrases of shops and stock-photo sites.
#include <array>

#include "text/caption_rules.h"
#include "text/character_classes.h"
#include "text/rewrite.h"

namespace microdit::text {
namespace {

constexpr std::size_t kNone = std::string_view::npos;
constexpr std::array<std::string_view, 9> kExtensions = {"png", "jpg", "jpeg", "bmp", "webp",
                                                         "eps", "pdf", "apk",  "mp4"};

char byte_at(std::string_view text, std::size_t at) {
  return at < text.size() ? text[at] : '\0';
}

/// Bytes of the file extension at `at`; 0 when there is none.
std::size_t extension_at(std::string_view text, std::size_t at) {
  static constexpr auto kMayBegin = [] {
    std::array<bool, 256> may{};
    for (const std::string_view extension : kExtensions) may[static_cast<unsigned char>(extension[0])] = true;
    return may;
  }();
  if (!kMayBegin[static_cast<unsigned char>(byte_at(text, at))]) return 0;
  for (const std::string_view extension : kExtensions)
    if (text.substr(at, extension.size()) == extension) return extension.size();
  return 0;
}

/// Where `word` and white space before `at` begin, not before `from`; `at` when they are not there.
std::size_t begin_of_word_before(std::string_view text, std::size_t at, std::string_view word,
                                 std::size_t from) {
  std::size_t blank = at;
  while (blank > from) {
    const CodePoint c = code_point_before(text, blank);
    if (!is_space(c.value)) break;
    blank -= c.bytes;
  }
  return blank < at && blank >= from + word.size() && text.substr(0, blank).ends_with(word)
             ? blank - word.size()
             : at;
}

/// Behind `word` at `at`; kNone when it is not there.
std::size_t end_of_word(std::string_view text, std::size_t at, std::string_view word) {
  return at <= text.size() && text.substr(at, word.size()) == word ? at + word.size() : kNone;
}

}  // namespace

void delete_file_names(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  // The last extension of every run without white space, and all before it. The end of the run before is looked for from the dot
  // backwards, but never beyond the last run that was seen.
  std::size_t seen = 0;
  for (std::size_t dot = 0; (dot = text.find('.', dot)) != kNone;) {
    if (extension_at(text, dot + 1) == 0) {
      ++dot;
      continue;
    }
    std::size_t begin = dot;
    while (begin > seen) {
      const CodePoint c = code_point_before(text, begin);
      if (is_space(c.value)) break;
      begin -= c.bytes;
    }
    std::size_t end = kNone, at = dot;  // behind the run's last extension, and the run's end
    for (; at < text.size() && length_at<is_space>(text, at) == 0; at += code_point_at(text, at).bytes) {
      const std::size_t bytes = text[at] == '.' && at > begin ? extension_at(text, at + 1) : 0;
      if (bytes > 0) end = at + 1 + bytes;
    }
    if (end != kNone) rewrite.replace(begin, end, "");
    dot = seen = at;
  }
}

void delete_shipping(std::string& caption) {
  constexpr std::string_view kShipping = "shipping";
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; (at = text.find(kShipping, at)) != kNone; at += kShipping.size()) {
    std::size_t begin = begin_of_word_before(text, at, "free", rewrite.done());
    begin = begin_of_word_before(text, begin, "worldwide", rewrite.done());
    rewrite.replace(begin, at + kShipping.size(), "");
  }
}

void delete_download(std::string& caption) {
  constexpr std::string_view kDownload = "download", kFree = "free";
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; (at = text.find(kDownload, at)) != kNone;) {
    std::size_t begin = at, end = at + kDownload.size();
    if (begin > rewrite.done()) {
      const std::size_t bytes =
          is_space(code_point_before(text, at).value) ? code_point_before(text, at).bytes : 0;
      const std::size_t free = at - bytes;
      if (bytes > 0 && free >= rewrite.done() + kFree.size() && text.substr(0, free).ends_with(kFree))
        begin = free - kFree.size();
    }
    const std::size_t blank = length_at<is_space>(text, end);
    if (blank > 0 && end_of_word(text, end + blank, kFree) != kNone) end += blank + kFree.size();
    rewrite.replace(begin, end, "");
    at = end;
  }
}

void delete_click(std::string& caption) {
  constexpr std::string_view kClick = "click";
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; (at = text.find(kClick, at)) != kNone;) {
    const std::size_t begin = at;
    at += kClick.size();
    const std::size_t blank = length_at<is_space>(text, at);
    if (word_before(text, begin) || blank == 0) continue;
    std::size_t word = end_of_word(text, at + blank, "for");
    if (word == kNone) word = end_of_word(text, at + blank, "on");
    if (word == kNone || length_at<is_space>(text, word) == 0) continue;
    word += length_at<is_space>(text, word);
    const std::size_t end = end_of<is_word>(text, word);
    if (end == word) continue;
    rewrite.replace(begin, end, "");
    at = end;
  }
}

void delete_extensions(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = extension_at(text, at);
    if (bytes == 0 || word_before(text, at)) {
      ++at;
      continue;
    }
    std::size_t end = at + bytes;
    const std::size_t blank = length_at<is_space>(text, end);
    const std::size_t image = blank > 0 ? end_of_word(text, end + blank, "image") : kNone;
    if (image != kNone) end = image + (byte_at(text, image) == 's' ? 1 : 0);
    rewrite.replace(at, end, "");
    at = end;
  }
}

void delete_page_numbers(std::string& caption) {
  constexpr std::string_view kPage = "page";
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; (at = text.find(kPage, at)) != kNone;) {
    const std::size_t begin = at;
    at += kPage.size();
    const std::size_t number = end_of<is_space>(text, at);
    const std::size_t end = end_of<is_digit>(text, number);
    if (number == at || end == number || word_before(text, begin) || word_at(text, end)) continue;
    rewrite.replace(begin, end, "");
    at = end;
  }
}

}  // namespace microdit::text

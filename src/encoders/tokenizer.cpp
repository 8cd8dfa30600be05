// What all tokenizers share: cutting, and saying what was cut.
#include "encoders/tokenizer.h"

#include "core/error.h"

namespace microdit::encoders {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// Where words begin; in writing without spaces (any letter beyond ASCII) every letter may.
std::vector<std::size_t> beginnings(std::string_view text) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0xc0 || (i > 0 && is_blank(text[i - 1]) && !is_blank(text[i]))) found.push_back(i);
  }
  return found;
}

}  // namespace

void truncate(std::vector<std::int32_t>& ids, std::int64_t max_length) {
  if (static_cast<std::int64_t>(ids.size()) <= max_length) return;
  ids[static_cast<std::size_t>(max_length - 1)] = ids.back();
  ids.resize(static_cast<std::size_t>(max_length));
}

TokenRows tokenize(const Tokenizer& tokenizer, const std::vector<std::string>& captions,
                   std::int64_t length) {
  TokenRows rows;
  rows.ids.reserve(captions.size() * static_cast<std::size_t>(length));
  for (std::size_t i = 0; i < captions.size(); ++i) {
    std::vector<std::int32_t> ids = tokenizer.encode(captions[i]);
    rows.num_tokens.push_back(static_cast<std::int64_t>(ids.size()));
    truncate(ids, length);
    rows.ids.insert(rows.ids.end(), ids.begin(), ids.end());
    rows.ids.resize((i + 1) * static_cast<std::size_t>(length), tokenizer.pad_id());
  }
  return rows;
}

std::string unseen_end(const Tokenizer& tokenizer, std::string_view text, std::int64_t length) {
  const auto fits = [&](std::size_t end) {
    return static_cast<std::int64_t>(tokenizer.encode(text.substr(0, end), length + 1).size()) <= length;
  };
  if (fits(text.size())) return "";
  const std::vector<std::size_t> ends = beginnings(text);
  std::size_t low = 0, high = ends.size();  // the first of `ends` that no longer fits lies in [low, high]
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (fits(ends[middle])) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return std::string(text.substr(low == 0 ? 0 : ends[low - 1]));
}

}  // namespace microdit::encoders

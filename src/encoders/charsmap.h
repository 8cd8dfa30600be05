// sentencepiece's precompiled charsmap: what characters and short sequences normalise to (for T5: nmt_nfkc).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace microdit::encoders {

class Charsmap {
 public:
  /// `bytes`: u32 size of the trie, a double array of u32 units (darts-clone), then replacements that end with a zero byte.
  /// Empty: every text stays as it is. UserError names `origin`: sizes, offsets or texts that do not fit together.
  Charsmap(std::string_view bytes, const std::string& origin);

  /// The text as tokenizers 0.23 normalises it (Precompiled): of each grapheme cluster below six bytes the shortest known beginning
  /// stands for the whole, else each character is replaced alone. `text` is valid UTF-8.
  std::string normalize(std::string_view text) const;

 private:
  void check_units(const std::string& origin) const;
  void check_replacements(const std::string& origin) const;
  /// The replacement of the shortest known beginning of `text`.
  std::optional<std::string_view> shortest(std::string_view text) const;
  void append(std::string_view text, std::string& out) const;

  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

}  // namespace microdit::encoders

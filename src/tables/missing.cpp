// Only text needs a look: NaN and null are nothing already.
#include "tables/missing.h"

#include "text/strip.h"

namespace microdit::tables {

bool is_missing(const Value& value) {
  if (is_null(value)) return true;
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return false;
  std::string_view bare = text::strip(*text);
  if (bare.starts_with('-') || bare.starts_with('+')) bare.remove_prefix(1);
  const auto is = [](char c, char letter) { return (c | 0x20) == letter; };
  return bare.empty() || (bare.size() == 3 && is(bare[0], 'n') && is(bare[1], 'a') && is(bare[2], 'n'));
}

}  // namespace microdit::tables

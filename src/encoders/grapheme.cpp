// The rules of UAX 29 over ICU's character properties.
#include "encoders/grapheme.h"

#include <unicode/uchar.h>

#include "encoders/code_point.h"

namespace microdit::encoders {
namespace {

int property(char32_t c) {
  return u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_GRAPHEME_CLUSTER_BREAK);
}

bool is_control(int p) {
  return p == U_GCB_CONTROL || p == U_GCB_CR || p == U_GCB_LF;
}

/// Whether no boundary lies between two characters; `emoji_joiner`: a pictograph, extenders and a joiner stand before.
bool joined(int before, char32_t next, int after, bool emoji_joiner) {
  if (before == U_GCB_CR) return after == U_GCB_LF;
  if (is_control(before) || is_control(after)) return false;
  if (before == U_GCB_L) {
    if (after == U_GCB_L || after == U_GCB_V || after == U_GCB_LV || after == U_GCB_LVT) return true;
  } else if (before == U_GCB_LV || before == U_GCB_V) {
    if (after == U_GCB_V || after == U_GCB_T) return true;
  } else if ((before == U_GCB_LVT || before == U_GCB_T) && after == U_GCB_T) {
    return true;
  }
  if (after == U_GCB_EXTEND || after == U_GCB_ZWJ || after == U_GCB_SPACING_MARK) return true;
  if (before == U_GCB_PREPEND) return true;
  return emoji_joiner && u_hasBinaryProperty(static_cast<UChar32>(next), UCHAR_EXTENDED_PICTOGRAPHIC);
}

}  // namespace

std::size_t grapheme_bytes(std::string_view text) {
  // Nearly every character of ordinary text stands alone: two of ASCII never join but for CR LF.
  if (static_cast<unsigned char>(text[0]) < 0x80 && text[0] != '\r' &&
      (text.size() == 1 || static_cast<unsigned char>(text[1]) < 0x80))
    return 1;
  std::size_t at = 0;
  char32_t c = next_code_point(text, at);
  int before = property(c);
  bool pictograph = u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_EXTENDED_PICTOGRAPHIC);
  while (at < text.size()) {
    std::size_t end = at;
    c = next_code_point(text, end);
    const int after = property(c);
    if (!joined(before, c, after, pictograph && before == U_GCB_ZWJ)) break;
    at = end;
    if (after != U_GCB_EXTEND && after != U_GCB_ZWJ)
      pictograph = u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_EXTENDED_PICTOGRAPHIC);
    before = after;
  }
  return at;
}

}  // namespace microdit::encoders

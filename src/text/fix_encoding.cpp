// The steps of ftfy's fix_encoding.
#include "text/fix_encoding.h"

#include <algorithm>
#include <optional>

#include "text/code_page.h"
#include "text/code_points.h"
#include "text/mojibake.h"
#include "text/utf8_variants.h"

namespace microdit::text {
namespace {

constexpr std::size_t kPrefix = 256;  // of a text: most code pages that cannot be show here

/// Steps on a text that is bad, until nothing changes; whether any did.
bool repair(std::u32string& text, RepairBudget& budget);

bool is_plain(std::u32string_view text) {
  return std::ranges::all_of(text, [](char32_t c) { return c < 0x80; });
}
bool is_c1(char32_t c) {
  return c >= 0x80 && c <= 0x9F;
}

/// UTF-8 that was decoded with this code page, as it was meant; nothing when it was not.
std::optional<std::u32string> decode_again(std::u32string_view text, CodePage::Name name) {
  const CodePage& page = CodePage::get(name);
  std::optional<std::string> bytes = page.encode_sequences(text);
  if (!bytes) return std::nullopt;
  // In MacRoman an en dash and a space look like an altered sequence.
  if (name != CodePage::kMacRoman && has_altered_sequence(*bytes)) bytes = restore_byte_a0(*bytes);
  if (page.is_sloppy()) bytes = replace_lossy_sequences(*bytes);
  return decode_utf8(*bytes);
}

/// Repairs every suspect run by itself; whether any changed.
bool fix_suspects(std::u32string& text, RepairBudget& budget) {
  const std::u32string_view all = text;
  std::u32string out;
  std::size_t done = 0;
  for (Suspect run = find_suspect(all, 0); run.begin < run.end; run = find_suspect(all, run.end)) {
    const std::u32string_view part = all.substr(run.begin, run.end - run.begin);
    if (part.size() == all.size() || !is_bad(part)) continue;
    std::u32string fixed(part);
    if (!repair(fixed, budget)) continue;
    out.append(all, done, run.begin - done).append(fixed);
    done = run.end;
  }
  if (done == 0) return false;
  out += all.substr(done);
  text = std::move(out);
  return true;
}

/// One step on a text that is bad; false when there is nothing to do.
bool repair_once(std::u32string& text, RepairBudget& budget) {
  const unsigned pages = CodePage::pages_of(std::u32string_view(text).substr(0, kPrefix));
  for (int name = 0; name < CodePage::kCount; ++name) {
    if (!(pages >> name & 1)) continue;
    if (auto fixed = decode_again(text, static_cast<CodePage::Name>(name))) {
      const bool changed = !std::equal(fixed->begin(), fixed->end(), text.begin(), text.end());
      text = *std::move(fixed);
      return changed;
    }
  }
  // ftfy decodes Latin-1 with Windows-1252 and, where that fails, C1 controls one by one: the same characters.
  return fix_suspects(text, budget) || fix_c1_controls(text);
}

bool repair(std::u32string& text, RepairBudget& budget) {
  bool changed = false;
  while (repair_once(text, budget)) {
    changed = true;
    if (!budget.take(text.size()) || is_plain(text) || !is_bad(text)) break;
  }
  return changed;
}

}  // namespace

bool fix_c1_controls(std::u32string& text) {
  const CodePage& page = CodePage::get(CodePage::kWindows1252);
  bool changed = false;
  for (char32_t& c : text) {
    if (!is_c1(c)) continue;
    const char32_t meant = page.decode(static_cast<unsigned char>(c));
    changed |= meant != c;
    c = meant;
  }
  return changed;
}

bool fix_encoding(std::u32string& text, RepairBudget& budget) {
  return !is_plain(text) && is_bad(text) && repair(text, budget);
}

}  // namespace microdit::text

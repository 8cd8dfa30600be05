// ftfy's repair of text that was decoded with the wrong encoding.
#pragma once

#include <cstddef>
#include <string>

namespace microdit::text {

/// Bounds what repeated repairs of one text may look at, in code points. A text of n characters can be made that changes n
/// times, a little each time, which is quadratic in the original too; honest text changes a few times.
/// 10 KiB of nothing but Â before a © (one step each) and of one &amp;amp;amp;... are repaired to the end.
class RepairBudget {
 public:
  /// False when nothing is left: the text stays as it is by then.
  bool take(std::size_t code_points) {
    if (code_points > left_) return false;
    left_ -= code_points;
    return true;
  }
  static constexpr std::size_t kCodePoints = std::size_t{1} << 24;

 private:
  std::size_t left_ = kCodePoints;
};

/// ftfy 6.3.1's fix_encoding: encodes a text that looks like mojibake back with each code page in turn and decodes it as UTF-8,
/// whole or in pieces, until nothing changes. Every step after the first costs the budget the text's length. Whether it changed.
bool fix_encoding(std::u32string& text, RepairBudget& budget);

/// C1 control characters (80 to 9F) as the Windows-1252 characters of their numbers; whether any changed.
bool fix_c1_controls(std::u32string& text);

}  // namespace microdit::text

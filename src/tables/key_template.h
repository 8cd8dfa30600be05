// Keys by a template: "part-{part_id:06}/{image_name}" over a row's columns, "{stem}" over a member's path.
//
//   {name}        the value as text; 12.0 is 12
//   {name:06}     a whole number, at least so many characters wide, filled with zeros as Python's format does
//   {name|how}    the value as a path: `relative` (without a leading "./"), `basename`, `stem`, `dir`;
//                 `bare` (without dots and slashes at either end)
//   {{ and }}     a brace
//
// A key's letters are composed (NFC), on both sides.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tables/value.h"

namespace microdit::tables {

class KeyTemplate {
 public:
  /// UserError, which names the template and the place, when it is not well formed. `where`: the setting, for messages.
  KeyTemplate(std::string_view text, std::string_view where);

  const std::string& text() const { return text_; }
  /// Names that it uses, each once, in order of first use.
  const std::vector<std::string>& names() const { return names_; }

  /// `values` in the order of names(). Returns "" or why there is no key ("`id` is absent", "`id` is no whole number ..."). A key is
  /// neither empty nor longer than limits::kKeyBytes.
  std::string expand(std::span<const Value> values, std::string& key) const;

 private:
  enum class Path { none, relative, basename, stem, dir, bare };
  struct Piece {
    std::string literal;  ///< before the field
    int name = -1;        ///< in names_; none after the last literal
    std::size_t width = 0;
    Path path = Path::none;
  };
  std::size_t field(std::size_t begin, std::string literal, std::string_view where);
  [[noreturn]] void wrong(std::string_view where, std::size_t place, const std::string& what) const;
  std::string text_;
  std::vector<std::string> names_;
  std::vector<Piece> pieces_;
};

/// The join side: a template whose fields are {path}, {dir}, {parent} and {top} (the last folder of its path and the first), {basename}
/// and {stem} of a member, {root} (its basename up to the first dot) and {archive} (that it lies in, without its ending). UserError where it
/// uses another.
class PathTemplate {
 public:
  PathTemplate(std::string_view text, std::string_view where);
  /// The key of a member; a leading "./" of its path does not count. "" when there is none.
  std::string key(std::string_view member, std::string_view archive = {}) const;
  /// Whether it is a function of the archive alone.
  bool is_of_archive() const { return template_.names() == std::vector<std::string>{"archive"}; }

 private:
  KeyTemplate template_;
};

/// Its letters composed (NFC); as it is where it is ASCII, or no UTF-8.
std::string composed(std::string_view text);

/// Of "./a/b.c.jpg": path "a/b.c.jpg", dir "a", basename "b.c.jpg", stem "b.c" (without the last extension, as Python's pathlib).
struct PathParts {
  std::string_view path, dir, basename, stem;
};
PathParts path_parts(std::string_view path);

}  // namespace microdit::tables

// Private to tables: JSON values passed over, or taken as their bytes, without a tree of them.
#pragma once

#include <string>
#include <string_view>

#include "tables/byte_source.h"

namespace microdit::tables::detail {

class JsonScanner {
 public:
  JsonScanner(ByteReader& in, std::string_view origin) : in_(in), origin_(origin) {}

  /// The next byte that is no blank, still to be read; ByteReader::kEnd.
  int next();
  void expect(char c, std::string_view what);
  /// Goes beyond one value; its bytes are appended to `into`, where given, limits::kRowBytes at most.
  void value(std::string* into);
  /// A member's name and its colon.
  std::string name();
  /// UserError with the place.
  [[noreturn]] void wrong(std::string_view what) const;

 private:
  int take(std::string* into);
  void append(std::string& into, std::string_view bytes) const;
  void text(std::string* into);
  void nested(std::string* into);
  ByteReader& in_;
  std::string_view origin_;
};

}  // namespace microdit::tables::detail

// Which version of a remote file some bytes are of, as its server said.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace microdit::ingest {

struct FileVersion {
  std::string etag{}, last_modified{};
  std::int64_t total = -1;  ///< bytes of the whole file; -1 = not said

  bool has_strong_tag() const { return !etag.empty() && !etag.starts_with("W/"); }
  /// What If-Range carries: a strong tag, else the date, else nothing. (RFC 9110, 13.1.5 wants no date beside a weak tag: without it
  /// large files of servers that send no other would begin anew at each cut. The weak tag and the total must agree, too, then.)
  std::string validator() const { return has_strong_tag() ? etag : last_modified; }
  friend bool operator==(const FileVersion&, const FileVersion&) = default;
};

/// As it is kept beside a partial file: a line each.
std::string to_text(const FileVersion& version);
/// Without a validator where the text is not of this form.
FileVersion file_version_of(std::string_view text);

}  // namespace microdit::ingest

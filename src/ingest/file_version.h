// Which version of a remote file some bytes are of, as its server said.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace microdit::ingest {

struct FileVersion {
  std::string etag{}, last_modified{};
  std::int64_t total = -1;  ///< bytes of the whole file; -1 = not said

  /// What If-Range may carry (RFC 9110, 13.1.5): a strong tag; a date only where there is no tag; else nothing.
  std::string validator() const {
    if (etag.empty()) return last_modified;
    return etag.starts_with("W/") ? "" : etag;
  }
  friend bool operator==(const FileVersion&, const FileVersion&) = default;
};

/// As it is kept beside a partial file: a line each.
std::string to_text(const FileVersion& version);
/// Without a validator where the text is not of this form.
FileVersion file_version_of(std::string_view text);

}  // namespace microdit::ingest

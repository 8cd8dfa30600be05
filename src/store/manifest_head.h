// The first and the last line of a manifest: all that a reader of the index needs of it, without a record parsed.
#pragma once

#include <cstdint>
#include <string>

namespace microdit::store {

/// What opening a folder needs of its manifest: the first line and the last.
struct ManifestHead {
  std::string facts;  ///< JSON text
  std::int64_t generation = 0;
  std::string sha256;  ///< of all bytes before the last line, checked
};
ManifestHead read_manifest_head(const std::string& text, const std::string& origin);

}  // namespace microdit::store

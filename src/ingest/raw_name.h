// What a file of a source is called under raw/.
#pragma once

#include <string>
#include <string_view>

namespace microdit::ingest {

/// One plain component of at most 180 bytes, from the file's own path alone. Folders are joined with '_'; stem and extension
/// (from the first dot) are those of the last component; non-ASCII letters become 'x' and their bytes in hex, whatever else is
/// not plain '_', also dots of folders and a leading one. The folders together, the stem, the last suffix and what stands
/// before it each get "-" and 8 digits of their own hash where they became another text (16 where they had to be cut): what
/// is plain keeps its name, two names never become one, and files of one stem keep one. The stem of one of the folder's own
/// files (facts.json, records, manifest.jsonl, hub.json) is not plain, but for archives.
std::string raw_name(std::string_view path);

}  // namespace microdit::ingest

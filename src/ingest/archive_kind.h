// What a file is by its first bytes, and what to say when that is not what the entry says.
#pragma once

#include <string>
#include <string_view>

namespace microdit::ingest {

/// "tar", "gzip", "zip", "bzip2", "xz", "zstd", "7z", "rar", "html", "git_lfs", "hdf5", "parquet", or "" = not known.
/// 512 bytes are enough.
std::string_view kind_of(std::string_view first_bytes);

/// UserError when the open file is empty or plainly another format than `kind` (tar, tgz, zip).
void check_kind(int file, const std::string& name, const std::string& kind);

[[noreturn]] void refuse_damaged(const std::string& file, std::string_view why);

}  // namespace microdit::ingest

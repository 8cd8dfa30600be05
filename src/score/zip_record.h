// A record of a zip file: stored or deflated.
#pragma once

#include <cstdint>
#include <string>

#include "core/input_file.h"
#include "core/zip_directory.h"

namespace microdit::score {

/// UserError (without the file's name): more than `most` bytes, packed in another way, damaged (its checksum is looked at).
std::string read_record(const core::InputFile& file, const core::ZipRecord& record, std::uint64_t most);

}  // namespace microdit::score

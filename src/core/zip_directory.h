// Where the records of a zip file lie, for the formats that are such files. Format: APPNOTE.TXT 6.3 (PKWARE), with ZIP64. Only what
// PyTorch and numpy write is read: one file without anything before it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "core/input_file.h"

namespace microdit::core {

struct ZipRecord {
  std::uint64_t offset = 0;  ///< of its data in the file
  std::uint64_t bytes = 0;   ///< as stored
  bool compressed = false;
  std::uint64_t method = 0, unpacked = 0;  ///< how (8: deflate), and to how many bytes
  std::uint32_t crc = 0;                   ///< 0 also where the writer took none
};

using ZipRecords = std::map<std::string, ZipRecord, std::less<>>;

/// By name. The directory must agree with every record's own header, and no two records may overlap. UserError says what is
/// wrong, without the file's name.
ZipRecords read_zip_directory(const InputFile& file);

}  // namespace microdit::core

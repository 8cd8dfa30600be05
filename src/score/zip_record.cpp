// Inflating into the size that the directory says, and no further.
#include "score/zip_record.h"

#include <zlib.h>

#include <algorithm>
#include <span>

#include "core/crc32.h"
#include "core/error.h"

namespace microdit::score {
namespace {

constexpr std::uint64_t kStored = 0, kDeflate = 8;

std::string inflated(const std::string& packed, std::uint64_t bytes) {
  std::string out(bytes, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -15) != Z_OK) core::system_error("zlib: {}", "inflateInit2 failed");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int status = inflate(&stream, Z_FINISH);
  const bool whole = status == Z_STREAM_END && stream.avail_out == 0 && stream.avail_in == 0;
  inflateEnd(&stream);
  if (!whole) core::user_error("{}", "its deflated data are damaged");
  return out;
}

}  // namespace

std::string read_record(const core::InputFile& file, const core::ZipRecord& record, std::uint64_t most) {
  if (record.unpacked > most || record.bytes > most)
    core::user_error("it has {} bytes (at most {})", std::max(record.unpacked, record.bytes), most);
  if (record.method != kStored && record.method != kDeflate)
    core::user_error("it is packed by method {} of the zip format", record.method);
  std::string bytes = file.read_string(record.offset, record.bytes);
  if (record.method == kDeflate) bytes = inflated(bytes, record.unpacked);
  if (core::crc32(std::as_bytes(std::span(bytes))) != record.crc)
    core::user_error("{}", "it is damaged (checksum)");
  return bytes;
}

}  // namespace microdit::score

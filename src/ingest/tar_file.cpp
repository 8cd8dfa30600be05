// 512-byte headers, members padded to 512 bytes, two empty blocks at the end.
#include "ingest/tar_file.h"

#include <array>
#include <cstring>

#include "core/error.h"

namespace microdit::ingest {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::array<std::byte, 2 * kBlock> kNothing{};

struct Header {
  char name[100], mode[8], owner[8], group[8], size[12], time[12], checksum[8], type, link[100], magic[6],
      version[2], owner_name[32], group_name[32], device[16], prefix[155], unused[12];
};
static_assert(sizeof(Header) == kBlock);

template <std::size_t N>
void put(char (&field)[N], const std::string& text) {
  core::check(text.size() <= N, "a tar header's field holds {} bytes, not {}", N, text.size());
  std::memcpy(field, text.data(), text.size());
}

}  // namespace

void TarFile::add(const std::string& name, std::span<const std::byte> bytes) {
  Header header{};
  put(header.name, name);
  put(header.mode, "0000644");
  put(header.owner, "0000000");
  put(header.group, "0000000");
  put(header.size, fmt::format("{:011o}", bytes.size()));
  put(header.time, "00000000000");
  put(header.checksum, "        ");  // counted as blanks
  header.type = '0';
  put(header.magic, "ustar");
  put(header.version, "00");
  unsigned sum = 0;
  for (const std::byte byte : std::as_bytes(std::span(&header, 1))) sum += std::to_integer<unsigned>(byte);
  put(header.checksum, fmt::format("{:06o}", sum) + '\0' + ' ');
  file_.write(std::as_bytes(std::span(&header, 1)));
  file_.write(bytes);
  file_.write(std::span(kNothing).first((kBlock - bytes.size() % kBlock) % kBlock));
}

void TarFile::publish() {
  file_.write(kNothing);
  file_.publish();
}

}  // namespace microdit::ingest

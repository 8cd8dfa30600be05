// CRC-32 by eight tables, eight bytes a step.
#include "core/crc32.h"

#include <array>

namespace microdit::core {
namespace {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t sum = byte;
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ ((sum & 1) != 0 ? 0xEDB88320u : 0u);
    tables[0][byte] = sum;
  }
  for (std::size_t table = 1; table < 8; ++table)
    for (std::size_t byte = 0; byte < 256; ++byte)
      tables[table][byte] = (tables[table - 1][byte] >> 8) ^ tables[0][tables[table - 1][byte] & 0xffu];
  return tables;
}

constexpr Tables kTables = make_tables();

std::uint32_t word(std::span<const std::byte> bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = (value << 8) | std::to_integer<std::uint32_t>(bytes[i]);
  return value;
}

}  // namespace

std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before) {
  std::uint32_t sum = ~before;
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    const std::uint32_t low = sum ^ word(bytes), high = word(bytes.subspan(4));
    sum = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      sum ^= kTables[7 - i][(low >> (8 * i)) & 0xffu];
      sum ^= kTables[3 - i][(high >> (8 * i)) & 0xffu];
    }
  }
  for (const std::byte byte : bytes)
    sum = (sum >> 8) ^ kTables[0][(sum ^ std::to_integer<std::uint32_t>(byte)) & 0xffu];
  return ~sum;
}

}  // namespace microdit::core

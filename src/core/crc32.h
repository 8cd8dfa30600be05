// The checksum of zip records (CRC-32 of ISO 3309, polynomial 0xEDB88320 reflected).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace microdit::core {

/// Of `bytes` that follow bytes whose checksum is `before` (0: none do).
std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0);

}  // namespace microdit::core

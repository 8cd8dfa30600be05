// Whether a record's picture may enter the dataset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "ingest/catalogue.h"

namespace microdit::ingest {

struct PictureSize {
  std::int64_t width = 0;
  std::int64_t height = 0;
};

/// Fills `size`. Returns "" or why the picture is skipped: bad_header, too_small, undecodable (decoded once,
/// in full).
std::string check_picture(std::span<const std::byte> bytes, const FilterSection& filters, PictureSize& size);

}  // namespace microdit::ingest

// Where an entry says that a caption is, and reasons that several files give. For records.cpp and record_grouper.cpp alone.
#pragma once

#include <string>
#include <string_view>

#include "ingest/archives.h"

namespace microdit::ingest {

inline constexpr const char *kBadName = "damaged.name", *kNoImage = "damaged.no_image",
                            *kNoCaption = "damaged.no_caption";

/// As an entry may write it: "JPG", ".jpg" and "jpg" are the same.
inline std::string normal_extension(std::string_view written) {
  if (written.starts_with('.')) written.remove_prefix(1);
  return extension_of("x." + std::string(written));
}

inline bool is_json(std::string_view where) {
  return where.starts_with("json:");
}
inline bool is_table(std::string_view where) {
  return where.starts_with("table:");
}

}  // namespace microdit::ingest

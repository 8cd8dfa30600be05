// Where an entry says that a caption is, and reasons that several files give. For catalogue.cpp and what reads records.
#pragma once

#include <string>
#include <string_view>

#include "ingest/archives.h"

namespace microdit::ingest {

inline constexpr const char *kBadName = "damaged.name", *kNoImage = "damaged.no_image",
                            *kNoCaption = "damaged.no_caption", *kNoClass = "damaged.no_class";

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
/// A template over a picture's path (tables/key_template.h).
inline bool is_template(std::string_view where) {
  return where.find('{') != where.npos;
}
/// Of a Parquet file of pictures.
inline bool is_column(std::string_view where) {
  return where.starts_with("column:");
}
inline std::string column_of(std::string_view where) {
  return std::string(where.substr(7));
}

}  // namespace microdit::ingest
